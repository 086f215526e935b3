"""`tabwright ab gate|promote|rollback|watch|decisions`: what each does. Read `add_verbs` first."""

from __future__ import annotations

import argparse
import getpass
import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ab import decisions
from ab.decisions import Looked
from ab.errors import StaleRevision, StoreAway
from ab.gates import Gates, load_gates
from ab.judgement import Judgement, Verdict
from ab.offline import Evals, read_evals
from ab.store import Decision, Store, Version
from ab.stores.registry import open_store
from tabwright.errors import ConfigError

CODES = {Verdict.PROMOTE: 0, Verdict.HOLD: 1, Verdict.ROLL_BACK: 5}

Verb = Callable[..., argparse.ArgumentParser]


def add_verbs(verb: Verb, verbs: Any) -> None:
    """Give the parser of `tabwright ab` the verbs of the ladder."""
    made = verb(verbs, "gate", "say whether more users may get a candidate", _gate,
                "model --candidate new --evals runs/old runs/new")  # fmt: skip
    made.add_argument("flag", nargs="?", metavar="FLAG", help="the flag's key")
    _add_question(made, required=False)
    made.add_argument("--replay", metavar="ID", help="judge a kept decision anew")
    made = verb(verbs, "promote", "raise a candidate a rung, if its gates say so", _promote,
                "model --candidate new --evals runs/old runs/new")  # fmt: skip
    made.add_argument("flag", metavar="FLAG", help="the flag's key")
    _add_question(made)
    made.add_argument("--force", action="store_true", help="whatever the gates say; takes --why")
    made = verb(verbs, "rollback", "take a candidate back from everybody", _rollback,
                "model --candidate new --why 'it is rude'")  # fmt: skip
    made.add_argument("flag", metavar="FLAG", help="the flag's key")
    _add_question(made)
    made = verb(verbs, "watch", "promote, guard and roll back by itself, as gates say", _watch,
                "model --candidate new --evals runs/old runs/new")  # fmt: skip
    made.add_argument("flag", metavar="FLAG", help="the flag's key")
    _add_question(made)
    made.add_argument("--every", type=float, default=60.0, help="seconds between looks (60)")
    made = verb(verbs, "decisions", "list what was decided", _decisions, "model")
    made.add_argument("flag", nargs="?", default="", metavar="FLAG", help="of this flag only")


def _add_question(verb: argparse.ArgumentParser, required: bool = True) -> None:
    verb.add_argument("--candidate", required=required, help="the variant to be promoted")
    verb.add_argument("--evals", nargs=2, type=Path, metavar=("CONTROL", "CANDIDATE"),
                      help="folders of finished runs of evalkit")  # fmt: skip
    verb.add_argument("--gates", type=Path, help="TOML file (default: ab/gates.toml)")
    verb.add_argument("--who", help="who decides (default: the user of this shell)")
    verb.add_argument("--why", default="", help="the reason, kept with the decision")
    verb.add_argument("--dry-run", action="store_true", help="keep and change nothing")


def _gate(args: argparse.Namespace) -> int:
    with closing(open_store(args.address(args))) as store:
        if args.replay is not None:
            return _replay(store, args)
        if args.flag is None or args.candidate is None:
            raise ConfigError("gate: give FLAG and --candidate, or --replay ID")
        looked = _look(store, args)
        kept = None if args.dry_run else decisions.keep(store, looked, _who(args), args.why, None)
    _print(args, looked, kept, None)
    return CODES[looked.judgement.verdict]


def _replay(store: Store, args: argparse.Namespace) -> int:
    kept = decisions.find(store, args.replay)
    judgement, differences = decisions.again(kept)
    if args.json:
        told = {"decision": decisions.shown(kept), "now": asdict(judgement)}
        print(json.dumps(told | {"differences": differences}))
    else:
        print(f"decision {kept.id}, {_when(kept.at)}, {kept.who}: {kept.verdict}")
        print("\n".join(_lines(judgement)))
        print("\n".join(differences) or "judged anew: the same")
    return 1 if differences else 0


def _promote(args: argparse.Namespace) -> int:
    if args.force and not args.why:
        raise ConfigError("--force: give the reason with --why")
    with closing(open_store(args.address(args))) as store:
        looked = _look(store, args)
        if args.force and looked.stands.above is None:
            raise ConfigError(f"--force: everybody has {args.candidate} already")
        forced = Verdict.PROMOTE if args.force else None
        kept, written = None, None
        if not args.dry_run:
            kept = decisions.keep(store, looked, _who(args), args.why, forced)
            if kept.verdict == Verdict.PROMOTE:
                written = decisions.act(store, looked, kept, time.time())
    _print(args, looked, kept, written)
    return CODES[forced or looked.judgement.verdict]


def _rollback(args: argparse.Namespace) -> int:
    if not args.why:
        raise ConfigError("rollback: give the reason with --why")
    with closing(open_store(args.address(args))) as store:
        looked = _look(store, args)
        kept, written = None, None
        if not args.dry_run:
            kept = decisions.keep(store, looked, _who(args), args.why, Verdict.ROLL_BACK)
            written = decisions.act(store, looked, kept, time.time())
    _print(args, looked, kept, written)
    return 0


def _watch(args: argparse.Namespace) -> int:
    """Look again and again; a store that is away or a flag that was changed is looked at anew."""
    if args.every <= 0:
        raise ConfigError(f"--every {args.every:g}: give seconds above 0")
    before: Looked | None = None
    with closing(open_store(args.address(args))) as store:
        while True:
            try:
                looked = _look(store, args)
                if decisions.differ(looked, before):
                    before = looked
                    kept, written = _decide(store, looked, args)
                    _print(args, looked, kept, written)
                    if looked.judgement.verdict is Verdict.ROLL_BACK:
                        return CODES[Verdict.ROLL_BACK]
                if looked.stands.above is None and _guarded_enough(looked):
                    return 0
            except (StaleRevision, StoreAway) as error:
                before = None
                _note(args, str(error))
            time.sleep(args.every)


def _guarded_enough(looked: Looked) -> bool:
    return looked.evidence.days >= looked.evidence.gates.ladder.guard_days


def _decide(
    store: Store, looked: Looked, args: argparse.Namespace
) -> tuple[Decision | None, Version | None]:
    if args.dry_run:
        return None, None
    kept = decisions.keep(store, looked, _who(args), args.why or "watch", None)
    return kept, decisions.act(store, looked, kept, time.time())


def _decisions(args: argparse.Namespace) -> int:
    with closing(open_store(args.address(args))) as store:
        found = store.decisions(args.flag)
    if args.json:
        print(json.dumps([decisions.shown(decision) for decision in found]))
        return 0
    for one in found:
        print(f"{one.id}  {_when(one.at)}  {one.flag}={one.candidate}  {one.verdict}  "
              f"{one.who}  {one.why}".rstrip())  # fmt: skip
    return 0


def _look(store: Store, args: argparse.Namespace) -> Looked:
    gates = load_gates(args.gates)
    evals = _evals(args, gates)
    return decisions.look(store, args.flag, args.candidate, gates, evals, time.time())


def _evals(args: argparse.Namespace, gates: Gates) -> Evals | None:
    if not args.evals:
        return None
    control, candidate = args.evals
    return read_evals(control, candidate, gates.offline.k)


def _print(
    args: argparse.Namespace, looked: Looked, kept: Decision | None, written: Version | None
) -> None:
    revision = written.revision if written else None
    if args.json:
        body = {
            "evidence": looked.evidence.model_dump(mode="json"),
            "judgement": asdict(looked.judgement),
        }
        told = decisions.shown(kept) if kept else body
        print(json.dumps(told | {"revision_written": revision}), flush=True)
        return
    seen = looked.evidence
    above = f", next {seen.above}" if seen.above else ""
    print(f"{seen.flag}: {seen.candidate} against {seen.control}; at {seen.rung}{above}")
    print("\n".join(_lines(looked.judgement)))
    if written:
        print(f"written: revision {revision}, {written.why}")
    elif kept:
        print(f"kept: decision {kept.id}")
    print(end="", flush=True)


def _lines(judgement: Judgement) -> list[str]:
    lines = [f"{judgement.verdict}{_days(judgement.days)}"]
    for found in judgement.findings:
        lines.append(f"  {found.state:8}{found.gate}: {found.told}{_days(found.days)}")
    return lines


def _days(days: int | None) -> str:
    return "" if days is None else f" (about {days} more day{'s' * (days != 1)})"


def _note(args: argparse.Namespace, text: str) -> None:
    print(json.dumps({"error": text}) if args.json else f"not done: {text}", flush=True)


def _who(args: argparse.Namespace) -> str:
    return args.who or getpass.getuser()


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")
