"""`tabwright keys`: create, list, change and revoke API keys in the gateway's keys file.

A running gateway takes a change up within a second. A token is shown once, when it is made.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from server.caller import KeyScope, Lines, checked_user
from server.keys import DEFAULT_SCOPES, ApiKey, new_token
from server.keys_file import read_keys, write_keys, writing
from server.rates import Rate
from server.settings import ServerSettings
from tabwright.errors import ConfigError
from tabwright.settings import load_settings

_EXPIRY = re.compile(r"([1-9]\d{0,4})([hd])")
_NONE = "none"


def main(argv: Sequence[str]) -> int:
    """Run one verb; return the exit code.

    Raises:
        ConfigError: the file or an option is wrong, or no key has this id.
    """
    args = _parser().parse_args(argv)
    code: int = args.run(args, args.keys_file or _file_of_the_settings(args.config))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright keys",
        description="API keys of a gateway. A running one takes changes up within a second.",
        epilog="Example: tabwright keys create --name alice --keys-file keys.jsonl",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verb = _verb(verbs, "create", "make a key and print its token, once", _create,
                 "--name alice --rate 10/s --expires 90d --keys-file keys.jsonl")  # fmt: skip
    verb.add_argument("--name", required=True, help="whose it is: a person, or a team")
    _add_options(verb)
    verb = _verb(verbs, "list", "show all keys, without their secrets", _list,
                 "--keys-file keys.jsonl")  # fmt: skip
    verb = _verb(verbs, "set", "change a key; 'none' takes an option back", _set,
                 "3f9c01ab --lines single --delay-ms 75 --keys-file keys.jsonl")  # fmt: skip
    verb.add_argument("id", metavar="ID", help="the eight characters after tw_")
    verb.add_argument("--name", help="whose it is: a person, or a team")
    _add_options(verb)
    verb = _verb(verbs, "revoke", "end a key for good", _revoke,
                 "3f9c01ab --keys-file keys.jsonl")  # fmt: skip
    verb.add_argument("id", metavar="ID", help="the eight characters after tw_")
    return parser


def _verb(verbs: Any, name: str, text: str, run: Any, example: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text, epilog=f"Example: tabwright keys {name} {example}"
    )
    verb.add_argument("--keys-file", type=Path, help="the file (default: the server's keys_file)")
    verb.add_argument("--config", type=Path, help="TOML file that names it")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=run)
    return verb


def _add_options(verb: argparse.ArgumentParser) -> None:
    scopes = ", ".join(KeyScope)
    verb.add_argument("--scopes", help=f"some of {scopes} (default: complete,events)")
    verb.add_argument("--rate", help="completions it may start, like 10/s, 200/m or 1000/h")
    verb.add_argument("--burst", help="how many of them at once (default: one second's worth)")
    verb.add_argument("--expires", help="when it ends, like 90d or 12h from now")
    verb.add_argument("--delay-ms", help="wait so long for a newer keystroke")
    verb.add_argument("--min-confidence", help="show nothing the model is less sure of, 0 to 1")
    verb.add_argument("--lines", help=f"{', '.join(Lines)}")


def _create(args: argparse.Namespace, path: Path) -> int:
    made = new_token()
    key = ApiKey(
        id=made.id,
        digest=made.digest,
        name="",
        scopes=DEFAULT_SCOPES,
        created_at=datetime.now(UTC).replace(microsecond=0),
    )
    key = _changed(key, args)
    with writing(path):
        keys = read_keys(path) if path.exists() else []
        if any(other.id == key.id for other in keys):
            raise ConfigError(f"two keys would have the id {key.id}; run the command again")
        write_keys(path, [*keys, key])
    if args.json:
        print(json.dumps({"token": made.token, **_shown(key)}))
    else:
        print(made.token)
        print(f"key {key.id} of {key.name} is in {path}; its token is not shown again",
              file=sys.stderr)  # fmt: skip
    return 0


def _list(args: argparse.Namespace, path: Path) -> int:
    rows = [_shown(key) for key in read_keys(path)]
    if args.json:
        print(json.dumps(rows))
        return 0
    columns = ("id", "name", "state", "scopes", "rate", "eagerness", "expires_at")
    table = [columns, *(tuple(_cell(row.get(column)) for column in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())
    return 0


def _set(args: argparse.Namespace, path: Path) -> int:
    return _replace(args, path, lambda key: _changed(key, args))


def _revoke(args: argparse.Namespace, path: Path) -> int:
    now = datetime.now(UTC).replace(microsecond=0)
    return _replace(args, path, lambda key: replace(key, revoked_at=key.revoked_at or now))


def _replace(args: argparse.Namespace, path: Path, change: Any) -> int:
    with writing(path):
        keys = {key.id: key for key in read_keys(path)}
        if args.id not in keys:
            raise ConfigError(f"ID: no key {args.id!r} in {path}; see tabwright keys list")
        keys[args.id] = change(keys[args.id])
        write_keys(path, list(keys.values()))
    shown = _shown(keys[args.id])
    print(json.dumps(shown) if args.json else f"key {args.id} of {shown['name']}: {shown['state']}")
    return 0


def _changed(key: ApiKey, args: argparse.Namespace) -> ApiKey:
    """The key with what the options say; an option that is not given changes nothing."""
    changes: dict[str, Any] = {}
    if args.name is not None:
        changes["name"] = checked_user(args.name, "--name")
        if not changes["name"]:
            raise ConfigError("--name: give a name")
    if args.scopes is not None:
        changes["scopes"] = _scopes(args.scopes)
    if args.rate is not None or args.burst is not None:
        changes["rate"] = _rate(key.rate, args.rate, args.burst)
    if args.expires is not None:
        changes["expires_at"] = _expiry(args.expires)
    for name, most in (("delay_ms", 2000.0), ("min_confidence", 1.0)):
        if (given := getattr(args, name)) is not None:
            changes[name] = _number(name, given, most)
    if args.lines is not None:
        changes["lines"] = _lines(args.lines)
    return replace(key, **changes)


def _scopes(text: str) -> frozenset[KeyScope]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(KeyScope):
        raise ConfigError(f"--scopes {text!r}: give some of {', '.join(KeyScope)}")
    return frozenset(map(KeyScope, names))


def _rate(before: Rate | None, rate: str | None, burst: str | None) -> Rate | None:
    if rate == _NONE:
        return None
    if burst is not None and not burst.isdigit():
        raise ConfigError(f"--burst {burst!r}: give a whole number")
    at_once = int(burst) if burst else None
    if rate is not None:
        return Rate.parse(rate, at_once)
    if before is None:
        raise ConfigError("--burst: give --rate too")
    return Rate.of(before.per_s, at_once)


def _expiry(text: str) -> datetime | None:
    if text == _NONE:
        return None
    found = _EXPIRY.fullmatch(text)
    if not found:
        raise ConfigError(f"--expires {text!r}: write it like 90d or 12h")
    hours = int(found[1]) * (24 if found[2] == "d" else 1)
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)


def _number(name: str, text: str, most: float) -> float | None:
    if text == _NONE:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        flag = name.replace("_", "-")
        raise ConfigError(f"--{flag} {text!r}: give a number from 0 to {most:g}")
    return value


def _lines(text: str) -> Lines | None:
    if text == _NONE:
        return None
    if text not in set(Lines):
        raise ConfigError(f"--lines {text!r}: give one of {', '.join(Lines)}")
    return Lines(text)


def _shown(key: ApiKey) -> dict[str, Any]:
    """What may be shown of a key: everything but its digest."""
    wishes = {"delay_ms": key.delay_ms, "min_confidence": key.min_confidence, "lines": key.lines}
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state(datetime.now(UTC)),
        "scopes": sorted(key.scopes),
        "rate": {"per_s": key.rate.per_s, "burst": key.rate.burst} if key.rate else None,
        "eagerness": {name: value for name, value in wishes.items() if value is not None},
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={shown}" for name, shown in value.items()) or "-"
    return ",".join(value) if isinstance(value, list) else str(value or "-")


def _file_of_the_settings(config: Path | None) -> Path:
    settings = load_settings(ServerSettings, "server", {}, os.environ, config)
    if settings.keys_file is None:
        raise ConfigError("keys_file: the settings name none; give --keys-file FILE")
    return settings.keys_file
