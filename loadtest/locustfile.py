"""The load test as locust runs it; `python -m loadtest` starts a server and calls this.

    locust -f loadtest/locustfile.py --headless --users 16 --run-time 60s --host http://127.0.0.1:8123

Only servers on this machine are loaded. `--report FILE` writes the figures as JSON.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from locust import User, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtest.clients import EDITORS, Server
from loadtest.developer import Developer, Seen
from loadtest.figures import Figures
from loadtest.keystrokes import source_files, traces

_METRICS_S = 5.0
_numbers = itertools.count()
_runs: dict[int, Figures] = {}
_before: dict[int, str] = {}


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--protocols", default="tabby,openai,native", help="which editors they use")
    parser.add_argument("--sources", default="", help="folder of source files to type from")
    parser.add_argument("--suffix", default=".py", help="ending of the source files")
    parser.add_argument("--seed", type=int, default=1, help="the same seed types the same")
    parser.add_argument("--api-key", default="", help="key of the server", is_secret=True)
    parser.add_argument("--report", default="", help="file for the figures, as JSON")


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _start(environment: Environment, **_: Any) -> None:
    check_loopback(environment.host or "")
    _runs[id(environment)] = Figures()
    _before[id(environment)] = _metrics(environment.host or "")


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _stop(environment: Environment, **_: Any) -> None:
    after = _metrics(environment.host or "")
    report = _runs[id(environment)].report(_before[id(environment)], after)
    options = environment.parsed_options
    if options and options.report:
        Path(options.report).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


class Typist(User):
    """One developer; which editor it is goes round."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Open the editor."""
        options = self.environment.parsed_options
        assert options is not None
        number = next(_numbers)
        editors = [EDITORS[name] for name in options.protocols.split(",")]
        address = urlsplit(self.host or "")
        assert address.hostname is not None
        server = Server(address.hostname, address.port or 80, options.api_key)
        seed = options.seed * 1_000_003 + number
        editor = editors[number % len(editors)]
        self._developer = Developer(server, editor, self._tell, seed)
        folder = Path(options.sources) if options.sources else None
        self._traces = traces(source_files(folder, options.suffix), seed)

    @task
    def type(self) -> None:
        """Type one stretch of a file."""
        runner = self.environment.runner
        self._developer.type(
            next(self._traces), lambda: runner is None or runner.state != "running"
        )

    def _tell(self, seen: Seen) -> None:
        _runs[id(self.environment)].add(seen)
        self.environment.events.request.fire(
            request_type=seen.protocol,
            name=seen.outcome,
            response_time=seen.total_ms if seen.first_ms is None else seen.first_ms,
            response_length=seen.chars,
            exception=RuntimeError(seen.error) if seen.error else None,
            context={},
        )


def check_loopback(host: str) -> None:
    """Refuse to load anything but this machine.

    Raises:
        ValueError: another host.
    """
    name = urlsplit(host).hostname or ""
    try:
        loopback = name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"--host {host!r}: load tests go to this machine only; give 127.0.0.1")


def _metrics(host: str) -> str:
    try:
        with urllib.request.urlopen(f"{host}/metrics", timeout=_METRICS_S) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""  # a server of another make; its own figures stay unknown
