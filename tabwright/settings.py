"""Settings of an entry point: TOML < environment < flags, checked once into one frozen model.

Every option is stated once, as a field of a pydantic model; its TOML key, its variable and its flag
follow from its name. With the entry point `server` the field `port` is

    [server]                        in tabwright.toml
    port = 8123
    TABWRIGHT_SERVER_PORT=8123      in the environment
    --port 8123                     on the command line

An unknown key or a wrong value stops the program and says where and how to fix it. Read
`load_settings` first.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tabwright.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)

CONFIG_VARIABLE = "TABWRIGHT_CONFIG"
DEFAULT_FILE = Path("tabwright.toml")


def load_settings(
    model: type[Settings],
    entry: str,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    config: Path | None = None,
) -> Settings:
    """Merge the three sources for `entry`.

    config: the TOML file; without it the one named by TABWRIGHT_CONFIG, or `tabwright.toml` in the
    current folder if there is one.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown, or a value is wrong.
    """
    origins: dict[str, str] = {}
    merged: dict[str, Any] = {}
    for origin, values in (
        _from_file(entry, environ, config),
        ("environment", _from_environment(model, entry, environ)),
        ("command line", flags),
    ):
        for key, value in values.items():
            if key not in model.model_fields:
                raise ConfigError(f"{_place(origin, entry, key)}: unknown; {_known(model, key)}")
            merged[key] = value
            origins[key] = origin
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        place = _place(origins.get(key, "settings"), entry, key)
        # What concerns several fields, or one that is not to be shown, would show a secret.
        field = model.model_fields.get(key)
        got = f" (got {first['input']!r})" if field is not None and field.repr else ""
        raise ConfigError(f"{place}: {first['msg']}{got}") from None


def settings_file(environ: Mapping[str, str], config: Path | None = None) -> Path:
    """The TOML file that `load_settings` reads with the same arguments; it may not exist."""
    return config or (Path(v) if (v := environ.get(CONFIG_VARIABLE)) else DEFAULT_FILE)


def add_flags(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """Give `parser` one flag a field, with the field's description as help."""
    parser.add_argument("--config", type=Path, help="TOML file (default: ./tabwright.toml)")
    for name, field in model.model_fields.items():
        help_text = f"{field.description or ''} (default: {field.default})".replace("%", "%%")
        option = "--" + name.replace("_", "-")
        if field.annotation is bool:
            parser.add_argument(
                option, action=argparse.BooleanOptionalAction, default=None, help=help_text
            )
        else:
            parser.add_argument(option, default=None, metavar="VALUE", help=help_text)


def parse_flags(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[Path | None, dict[str, Any]]:
    """Parse `argv`; return the TOML file and the flags that were given."""
    given = vars(parser.parse_args(argv))
    config = given.pop("config")
    return config, {key: value for key, value in given.items() if value is not None}


def _from_file(
    entry: str, environ: Mapping[str, str], config: Path | None
) -> tuple[str, Mapping[str, Any]]:
    path = settings_file(environ, config)
    if path is DEFAULT_FILE and not path.exists():
        return str(path), {}
    try:
        with path.open("rb") as stream:
            tables = tomllib.load(stream)
    except (OSError, ValueError) as error:  # no TOML, or no UTF-8
        raise ConfigError(f"{path}: {error}") from None
    table = tables.get(entry, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: [{entry}] must be a table")
    return str(path), table


def _from_environment(
    model: type[BaseModel], entry: str, environ: Mapping[str, str]
) -> Mapping[str, str]:
    prefix = f"TABWRIGHT_{entry.upper()}_"
    values = {k.removeprefix(prefix).lower(): v for k, v in environ.items() if k.startswith(prefix)}
    # An empty variable is what `FOO= command` and empty Makefile variables give: not set.
    return {k: v for k, v in values.items() if v or k not in model.model_fields}


def _place(origin: str, entry: str, key: str) -> str:
    match origin:
        case "environment":
            return f"environment: TABWRIGHT_{entry.upper()}_{key.upper()}"
        case "command line":
            return "--" + key.replace("_", "-")
        case _:
            return f"{origin}: [{entry}] {key}"


def _known(model: type[BaseModel], key: str) -> str:
    import difflib

    close = difflib.get_close_matches(key, model.model_fields, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(model.model_fields)}"
