"""What experiments have shown: the report and the decisions of `tabwright ab`, for the page.

The gateway knows no statistics. They are computed by the command, in a process of its own, one at
a time, and kept for a moment, so that looking costs nothing that types. Read `Experiments.report`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import anyio

from ab.errors import NoStore
from server.event_stream import JsonResponse
from server.flag_watch import FlagWatch
from server.gateway import Call
from tabwright.errors import CallerError, InvalidRequest, Unavailable

_OPTIONS = ("flag", "control", "candidate", "since", "until", "before", "weights", "language",
            "editor", "weighting")  # fmt: skip
_NEEDED = ("control", "candidate", "since")
_CHARS = 200
_LIMIT_S = 120.0
_FRESH_S = 30.0
_KEPT = 64
_WRONG = 2  # the command's exit code for an option that is wrong


class NoReport(CallerError):
    """The command does not take the question."""


class ReportFailed(Unavailable):
    """The report could not be made; the command's last words say why."""


class Experiments:
    """Answers about experiments."""

    def __init__(self, flags: FlagWatch, address: str | None) -> None:
        """Work on the store at `address`, which `flags` follows."""
        self._flags = flags
        self._address = address
        self._turn = anyio.Lock()
        self._kept: dict[Sequence[str], tuple[float, Any]] = {}

    async def report(self, call: Call) -> JsonResponse:
        """Make a report, or show one of the last moments."""
        words = _words(call.query)
        if self._address is None:
            raise NoStore("this gateway keeps no events; start it with --store ab.sqlite")
        async with self._turn:
            at, report = self._kept.get(words, (-_FRESH_S, None))
            if time.monotonic() - at > _FRESH_S:
                report = await _made(words, self._address)
                while len(self._kept) >= _KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[words] = (time.monotonic(), report)
        return JsonResponse(report)

    async def decisions(self, call: Call) -> JsonResponse:
        """Tell what was decided about candidates, the newest first, without the evidence."""
        flag = call.query.get("flag", "")
        found = await self._flags.consult(lambda store: store.decisions(flag))
        rows = [
            {name: value for name, value in asdict(decision).items() if name != "body"}
            for decision in reversed(found)
        ]
        return JsonResponse({"decisions": rows})


def _words(query: Mapping[str, str]) -> tuple[str, ...]:
    if unknown := sorted(set(query) - set(_OPTIONS)):
        raise InvalidRequest(unknown[0][:40], "...", f"known: {', '.join(_OPTIONS)}")
    for name in _NEEDED:
        if not query.get(name):
            raise InvalidRequest(name, "", "it is required")
    for name, value in query.items():
        if len(value) > _CHARS or not value.isprintable():
            raise InvalidRequest(name, "...", f"give up to {_CHARS} printable characters")
    return tuple(f"--{name}={query[name]}" for name in _OPTIONS if query.get(name))


async def _made(words: Sequence[str], address: str) -> Any:
    command = [sys.executable, "-m", "tabwright", "ab", "report", "--json", *words]
    environ = {**os.environ, "TABWRIGHT_AB_STORE": address}  # `ps` shows words, say passwords
    with anyio.move_on_after(_LIMIT_S):
        done = await anyio.run_process(command, env=environ, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        if done.returncode == _WRONG:
            raise NoReport(said[-1][-500:])
        raise ReportFailed(f"the report could not be made: {said[-1][-500:]}")
    raise ReportFailed(f"the report took more than {_LIMIT_S:g} s; ask for fewer days")
