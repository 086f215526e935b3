"""`tabwright ab aa`: how often the statistics are wrong about this very team."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ab.acceptance import Weighting
from ab.report import METRICS
from ab.selftest import Found, Trial, self_test
from ab.stores.registry import open_store
from tabwright.errors import ConfigError

_DAYS = 14


def add_verb(verb: Callable[..., argparse.ArgumentParser], verbs: Any) -> None:
    """Give the parser of `tabwright ab` the verb `aa`."""
    made = verb(verbs, "aa", "split your own users by lot and see what is found wrongly", _aa,
                "--since 2026-11-01 --until 2026-11-14")  # fmt: skip
    made.add_argument("--since", type=date.fromisoformat, help="first day (default: 14 days ago)")
    made.add_argument("--until", type=date.fromisoformat, help="last day (default: today)")
    made.add_argument("--before", type=int, default=14, help="days before that are known (14)")
    made.add_argument("--metric", choices=list(METRICS), default="acceptance")
    made.add_argument("--model", default="", help="split the users of this model only")
    made.add_argument("--weighting", type=Weighting, choices=list(Weighting),
                      default=Weighting.USERS, help="as in `report`")  # fmt: skip
    made.add_argument("--splits", type=int, default=200, help="how often to draw (200)")
    made.add_argument("--seed", type=int, default=1, help="other lots (1)")


def _aa(args: argparse.Namespace) -> int:
    until = args.until or datetime.now(UTC).date()
    since = args.since or until - timedelta(days=_DAYS - 1)
    if until < since or args.before < 0 or args.splits < 1:
        raise ConfigError("--since, --until, --before, --splits: give days in order, and some")
    trial = Trial(since, until, args.before, args.metric, args.model, args.weighting, args.splits,
                  seed=args.seed)  # fmt: skip
    with closing(open_store(args.address(args))) as store:
        while store.count("tabwright ab"):
            pass
        found = self_test(store.cells(), trial)
    allowed = trial.alpha + 3 * math.sqrt(trial.alpha * (1 - trial.alpha) / trial.splits)
    right = found.users > 3 and found.always_valid <= allowed
    if args.json:
        print(json.dumps(asdict(found) | {"allowed": allowed, "passed": right}))
    else:
        print(_text(found, trial, right))
    return 0 if right else 1


def _text(found: Found, trial: Trial, right: bool) -> str:
    if found.users <= 3:
        return f"{found.users} users from {trial.since} to {trial.until}: too few to be split"
    verdict = "as it should be" if right else "MORE OFTEN THAN IT MAY BE: do not use it"
    return (
        f"{found.users} users, {found.looks} daily looks, {trial.splits} splits by lot, "
        f"{trial.metric}\n"
        f"a difference was found where there is none: {found.always_valid:.1%} ({verdict})\n"
        f"a planned test, looked at daily as it must not be: {found.planned:.1%}"
    )
