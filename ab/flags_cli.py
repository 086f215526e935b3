"""`tabwright ab flags`: what each verb does. Read `add_verbs` first."""

from __future__ import annotations

import argparse
import getpass
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ab import definition, flagd
from ab.assignment import assign
from ab.errors import UnknownFlag
from ab.flags import WHOLE, Arm, Flag, Rollout, Slot, moves_users
from ab.offers import LIVE_S, check
from ab.store import Store, Version
from ab.stores.registry import open_store
from tabwright.errors import ConfigError

_NONE = "none"


def add_verbs(parser: argparse.ArgumentParser, add_store: Callable[..., None]) -> None:
    """Give the parser of `tabwright ab flags` its verbs."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, text: str, run: Any, example: str, key: bool = True) -> Any:
        made = verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"Example: tabwright ab flags {name} {example}",
        )
        if key:
            made.add_argument("key", metavar="FLAG", help="the flag's key")
        add_store(made)
        made.set_defaults(run=run)
        return made

    listed = verb("list", "show all flags", _list, "--store ab.sqlite", key=False)
    listed.add_argument("--all", action="store_true", help="those that are archived, too")
    verb("show", "show all of a flag, as JSON", _show, "model")
    verb("history", "show who changed a flag, when and why", _history, "model")
    tried = verb("try", "show what somebody gets", _try, "model --user ada --context language=go")
    tried.add_argument("--user", default="", help="the targeting key")
    tried.add_argument("--context", action="append", default=[], metavar="NAME=VALUE")
    _add_set(verb("set", "make or change a flag; 'none' takes an option back", _set,
                  "model --variant old=m1 --variant new=m2 --default old --share 5 "
                  "--arm new=1 --why start"))  # fmt: skip
    for name, text in (("enable", "undo the kill switch"), ("disable", "give all the default")):
        _add_who(verb(name, text, _switch, "model --why 'too slow'"))
        verbs.choices[name].set_defaults(enabled=name == "enable")
    for name, text in (("archive", "put away a flag; gateways do as if there were none"),
                       ("restore", "take it back, switched off")):  # fmt: skip
        _add_who(verb(name, text, _put_away, "model --why 'the new model has won'"))
        verbs.choices[name].set_defaults(archived=name == "archive")
    fixed = verb("override", "fix one user's variant; 'none' frees it", _override,
                 "model ada new --why 'tries it first'")  # fmt: skip
    fixed.add_argument("user", metavar="USER")
    fixed.add_argument("variant", metavar="VARIANT")
    _add_who(fixed)
    verb("export", "print all flags as flagd reads them", _export, "> flags.json", key=False)
    taken = verb("import", "take the flags of a flagd file", _import, "flags.json --why move",
                 key=False)  # fmt: skip
    taken.add_argument("file", type=Path, metavar="FILE")
    _add_who(taken)


def _add_set(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--variant", action="append", default=[], metavar="NAME=VALUE",
                      help="one that it has; values are JSON, or else text")  # fmt: skip
    verb.add_argument("--default", help="the variant of who is not reached by anything")
    verb.add_argument("--share", help="percent of all users that the rollout reaches")
    verb.add_argument("--arm", action="append", default=[], metavar="VARIANT=WEIGHT",
                      help="how those are split; all arms anew")  # fmt: skip
    verb.add_argument("--salt", help="flags with the same one reach the same users")
    verb.add_argument("--reshuffle", action="store_true", help="let users change their arm")
    verb.add_argument("--targeting", help="a rule in JSON, or 'none'")
    verb.add_argument("--slot", metavar="LAYER:FROM-TO", help="percent of a layer, or 'none'")
    verb.add_argument("--description")
    _add_who(verb)


def _add_who(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--why", required=True, help="the reason, kept in the history")
    verb.add_argument("--who", help="who changes it (default: the user of this shell)")
    verb.add_argument("--revision", type=int, help="refuse if it has another revision by now")
    verb.add_argument("--unserved", action="store_true",
                      help="take values that running gateways do not have, too")  # fmt: skip


def _list(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        versions = [v for v in store.flags().values() if args.all or not v.flag.archived]
    if args.json:
        print(json.dumps([definition.describe(version) for version in versions]))
        return 0
    table: list[tuple[str, ...]] = [("flag", "state", "revision", "default", "share", "arms")]
    table += [_cells(version) for version in versions]
    _print(table)
    return 0


def _cells(version: Version) -> tuple[str, ...]:
    flag, rollout = version.flag, version.flag.rollout
    share = f"{rollout.share / 1000:g} %" if rollout else "-"
    arms = " ".join(f"{arm.variant}={arm.weight}" for arm in rollout.arms) if rollout else "-"
    state = "on" if flag.enabled else "archived" if flag.archived else "off"
    return (flag.key, state, str(version.revision), flag.default_variant, share, arms)


def _show(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        print(json.dumps(definition.describe(_known(store, args.key)), indent=2))
    return 0


def _history(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        _known(store, args.key)
        versions = store.history(args.key)
    if args.json:
        print(json.dumps([definition.describe(version) for version in versions]))
        return 0
    rows = [(*_cells(v)[1:], _when(v), v.who, v.why) for v in versions]
    _print([("state", "revision", "default", "share", "arms", "at", "who", "why"), *rows])
    return 0


def _try(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        flag = _known(store, args.key).flag
    context = _pairs("--context", args.context)
    if args.user:
        context["targetingKey"] = args.user
    print(json.dumps(asdict(assign(flag, context))))
    return 0


def _set(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        before = store.flags().get(args.key)
        flag = _changed(before.flag if before else None, args)
        return _put(store, flag, before, args)


def _switch(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        before = _known(store, args.key)
        return _put(store, replace(before.flag, enabled=args.enabled), before, args)


def _put_away(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        before = _known(store, args.key)
        return _put(
            store, replace(before.flag, enabled=False, archived=args.archived), before, args
        )


def _override(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        before = _known(store, args.key)
        overrides = {u: v for u, v in before.flag.overrides.items() if u != args.user}
        if args.variant != _NONE:
            overrides[args.user] = args.variant
        return _put(store, replace(before.flag, overrides=overrides), before, args)


def _export(args: argparse.Namespace) -> int:
    with closing(_store(args)) as store:
        flags = [version.flag for version in store.flags().values()]
    print(flagd.export(flag for flag in flags if not flag.archived))
    return 0


def _import(args: argparse.Namespace) -> int:
    try:
        flags = flagd.read(args.file.read_bytes())
    except OSError as error:
        raise ConfigError(f"FILE: {args.file} cannot be read: {error.strerror}") from None
    with closing(_store(args)) as store:
        known = store.flags()
        for flag in flags:
            before = known.get(flag.key)
            if before is None or before.flag != flag:
                _put(store, flag, before, args)
    return 0


def _put(store: Store, flag: Flag, before: Version | None, args: argparse.Namespace) -> int:
    expected = before.revision if before else 0
    if args.revision is not None:
        expected = args.revision
    if flag.enabled and not args.unserved:
        check(flag, store.gateways(time.time() - LIVE_S).values())
    written = store.put(flag, expected, time.time(), args.who or getpass.getuser(), args.why)
    if args.json:
        print(json.dumps(definition.describe(written)))
    else:
        _print([("flag", "state", "revision", "default", "share", "arms"), _cells(written)])
    return 0


def _changed(before: Flag | None, args: argparse.Namespace) -> Flag:
    """The flag with what the options say; an option that is not given changes nothing."""
    changes: dict[str, Any] = {}
    if args.variant:
        changes["variants"] = _pairs("--variant", args.variant)
    if args.default is not None:
        changes["default_variant"] = args.default
    if args.description is not None:
        changes["description"] = args.description
    if args.targeting is not None:
        changes["targeting"] = _rule(args.targeting)
    if args.slot is not None:
        changes["slot"] = _slot(args.slot)
    if args.share is not None or args.arm or args.salt is not None:
        changes["rollout"] = _rollout(before.rollout if before else None, args)
    if before is not None:
        return replace(before, **changes)
    if not {"variants", "default_variant"} <= set(changes):
        raise ConfigError(f"{args.key}: there is no such flag; give --variant and --default")
    return Flag(key=args.key, **changes)


def _rollout(before: Rollout | None, args: argparse.Namespace) -> Rollout | None:
    if args.share == _NONE:
        return None
    arms = tuple(Arm(name, _weight(w)) for name, w in _pairs("--arm", args.arm).items())
    if before is None:
        if not arms or args.share is None:
            raise ConfigError("--share, --arm: give both to begin a rollout")
        return Rollout(_share("--share", args.share), arms, args.salt or args.key)
    share = before.share if args.share is None else _share("--share", args.share)
    after = Rollout(share, arms or before.arms, args.salt or before.salt)
    if moves_users(before, after) and not args.reshuffle:
        raise ConfigError("--arm, --salt: this moves users who are in; give --reshuffle to do so")
    return after


def _slot(text: str) -> Slot | None:
    if text == _NONE:
        return None
    layer, _, borders = text.rpartition(":")
    begin, dash, end = borders.partition("-")
    if not layer or not dash:
        raise ConfigError(f"--slot {text!r}: write it like models:0-50")
    return Slot(layer, _share("--slot", begin), _share("--slot", end))


def _share(option: str, text: str) -> int:
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    share = round(percent * WHOLE / 100) if 0 <= percent <= 100 else -1
    if share < 0 or abs(share - percent * WHOLE / 100) > 1e-6:
        raise ConfigError(f"{option} {text!r}: give 0 to 100 percent, with up to three decimals")
    return share


def _weight(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"--arm: {value!r} is no weight; give whole numbers like new=1")
    return value


def _rule(text: str) -> Any:
    if text == _NONE:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--targeting: {error}; give a rule in JSON") from None


def _pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or not name or name in pairs:
            raise ConfigError(f"{option} {text!r}: write it like name=value, each name once")
        try:
            pairs[name] = json.loads(value)
        except ValueError:
            pairs[name] = value
    return pairs


def _known(store: Store, key: str) -> Version:
    flags = store.flags()
    if key not in flags:
        raise UnknownFlag(f"FLAG: no flag {key!r}; known: {', '.join(flags) or 'none'}")
    return flags[key]


def _when(version: Version) -> str:
    return datetime.fromtimestamp(version.at, UTC).isoformat(" ", "seconds")


def _print(table: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def _store(args: argparse.Namespace) -> Store:
    return open_store(args.address(args))
