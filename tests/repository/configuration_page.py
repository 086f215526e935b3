"""Writes `docs/configuration.md` from the settings models; `make docs` calls it, a test compares.

Run as `python -m tests.repository.configuration_page`. Read `render` first.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from server.settings import LIVE_OPTIONS, ServerSettings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"

_HEAD = """\
# Configuration

<!-- Written by `make docs` from the settings models. Edit those, not this page. -->

Every entry point has one frozen settings object, built once at the start. Each option is stated
once, as a field, and can be given in three places; the later one wins:

1. the TOML file: `--config FILE`, else the file named by `TABWRIGHT_CONFIG`, else `tabwright.toml`
   in the current folder if there is one;
2. the environment;
3. the command line.

An unknown key or a wrong value stops the program with the place of the mistake and the fix
(exit code 2). There is no silent default for a value that was given.

An option that is live may change while the program runs: SIGHUP reads the three places again, and
so does a changed file under `--reload-config`
([how](operations.md#changing-options-while-serving)). The others need a restart.
"""

_ENTRIES: dict[str, tuple[str, type[BaseModel]]] = {
    "server": ("tabwright serve", ServerSettings),
}


def render() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for entry, (command, model) in _ENTRIES.items():
        upper = f"TABWRIGHT_{entry.upper()}_"
        parts.append(
            f"\n## `{command}`\n\n"
            f"TOML table `[{entry}]`; in the environment the key in capitals after `{upper}`; "
            "on the command line the key with dashes for underscores "
            f"(`port` is `{upper}PORT` and `--port`).\n\n"
            "| key | values | default | live | meaning |\n| --- | --- | --- | --- | --- |\n"
        )
        parts += [_row(name, field) for name, field in model.model_fields.items()]
    return "".join(parts)


def _row(name: str, field: FieldInfo) -> str:
    values = _values(field.annotation) + _bounds(field)
    live = "yes" if name in LIVE_OPTIONS else ""
    return f"| `{name}` | {values} | {_default(field.default)} | {live} | {field.description} |\n"


def _values(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin is tuple:
        return "list of texts, as one text with commas between"
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return " or ".join(map(_values, kinds))
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    return names.get(annotation, str(annotation))


def _bounds(field: FieldInfo) -> str:
    shown = []
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            shown.append(f"from {rule.ge}")
        elif isinstance(rule, annotated_types.Gt):
            shown.append(f"above {rule.gt}")
        elif isinstance(rule, annotated_types.Le):
            shown.append(f"up to {rule.le}")
    return "".join(f" {bound}" for bound in shown)


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        value = value.relative_to(ROOT).as_posix()
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
