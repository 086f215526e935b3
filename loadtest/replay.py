"""`python -m loadtest.replay --base-url URL`: type real files and check what type-ahead serves.

Every key asks once, greedily. Now and then the developer types the suggestion itself, character by
character, instead of what the file has. For every answer from memory (`X-Tabwright-Source`) it is
checked that an earlier answer of the engine says exactly that: its prefix and text, put together,
equal the prefix now and the text served. A sample is also asked anew with type-ahead turned off, to
see how often a fresh answer is the same; it need not be, because tokens may fall differently.

Exit codes: 0 every text was right, 1 one was not or memory never answered, 2 the caller can fix it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest.figures import percentiles
from loadtest.keystrokes import Trace, source_files, traces

_THROUGH = 0.10  # share of the keys after which the suggestion is typed through
_ANEW = 0.05  # share of the answers from memory that are asked again
_OFF = {"X-Tabwright-Typeahead": "off"}


@dataclass
class Replay:
    """One run against one server."""

    connection: HTTPConnection
    headers: dict[str, str]
    chance: random.Random
    said: dict[str, str] = field(default_factory=dict)
    memory_ms: list[float] = field(default_factory=list)
    engine_ms: list[float] = field(default_factory=list)
    wrong: int = 0
    anew: int = 0
    anew_same: int = 0

    def file(self, trace: Trace, most: int) -> None:
        """Type the first keys of one trace."""
        self.said.clear()
        typed = ""
        for key in trace.keys[:most]:
            suggested = self.ask(trace, typed)
            if self.chance.random() < _THROUGH:
                for end in range(1, len(suggested)):
                    self.ask(trace, typed + suggested[:end])
            typed += key.text

    def ask(self, trace: Trace, typed: str) -> str:
        """Ask once and check the answer if it came from memory."""
        prefix = trace.before + typed
        text, source, took_ms = self.post(trace, prefix)
        if source == "engine":
            self.said[prefix] = text
            self.engine_ms.append(took_ms)
            return text
        self.memory_ms.append(took_ms)
        self.wrong += not any(self.agreed(prefix, text))
        if self.chance.random() < _ANEW:
            self.anew += 1
            self.anew_same += self.post(trace, prefix, **_OFF)[0] == text
        return text

    def agreed(self, prefix: str, text: str) -> Iterator[bool]:
        """Whether each earlier answer, seen from its own prefix, is this one."""
        for earlier, answer in self.said.items():
            yield prefix.startswith(earlier) and earlier + answer == prefix + text

    def post(self, trace: Trace, prefix: str, **headers: str) -> tuple[str, str, float]:
        """Text, source and milliseconds of one answer."""
        asked = {"prompt": prefix, "suffix": trace.after, "max_tokens": 48, "temperature": 0}
        body = json.dumps(asked)
        start = time.perf_counter()
        self.connection.request("POST", "/v1/completions", body, self.headers | headers)
        response = self.connection.getresponse()
        raw = response.read()
        took_ms = (time.perf_counter() - start) * 1000
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {raw[:200].decode(errors='replace')}")
        text = json.loads(raw)["choices"][0]["text"]
        return text, response.headers.get("x-tabwright-source", ""), took_ms

    def report(self) -> dict[str, Any]:
        """Sum up."""
        return {
            "from_memory": len(self.memory_ms),
            "from_engine": len(self.engine_ms),
            "wrong": self.wrong,
            "memory_ms": percentiles(self.memory_ms),
            "engine_ms": percentiles(self.engine_ms),
            "asked_anew": self.anew,
            "anew_same": self.anew_same,
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Replay and print the figures; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.replay",
        description="Type real files and check every suggestion that comes from memory.",
        epilog="Example: python -m loadtest.replay --base-url http://127.0.0.1:8123 --files 24",
    )
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--keys", type=int, default=80, help="the most keys typed in one file")
    parser.add_argument("--sources", type=Path, help="folder to type from (default: the stdlib)")
    parser.add_argument("--suffix", default=".py", help="ending of the source files")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    files = source_files(options.sources, options.suffix)
    if not files:
        parser.error("--sources: there are no files to type from")
    address = urlsplit(options.base_url)
    # A name of its own, so that no earlier run has left answers behind.
    headers = {"X-Tabwright-User": f"replay-{time.time_ns()}"}
    if options.api_key:
        headers["Authorization"] = f"Bearer {options.api_key}"
    connection = HTTPConnection(address.hostname or "", address.port or 80, timeout=60)
    headers["Content-Type"] = "application/json"
    replay = Replay(connection, headers, random.Random(options.seed))
    cuts = traces(files, options.seed)
    try:
        for number in range(options.files):
            trace = next(cuts)
            print(f"{number + 1}/{options.files} {trace.path}", file=sys.stderr)
            replay.file(trace, options.keys)
    except (OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        connection.close()
    report = {"files": options.files} | replay.report()
    print(json.dumps(report, indent=2))
    return 1 if replay.wrong or not replay.memory_ms else 0


if __name__ == "__main__":
    sys.exit(main())
