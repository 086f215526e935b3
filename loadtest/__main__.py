"""`python -m loadtest`: start a server, let developers type at it, judge the figures.

Without `--base-url` a gateway is started on a free port of the loopback and stopped at the end.
Exit codes: 0 the limits were kept, 1 one was broken, 2 the caller can fix it, 3 no server.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest.clients import EDITORS
from loadtest.verdict import LIMITS, judge, read_limits, table

MOST_USERS = 500
MOST_SECONDS = 3600
_LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one load test; return the exit code."""
    options = _options(argv)
    try:
        limits = read_limits(options.limits)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        report_file = Path(folder) / "report.json"
        try:
            with _server(options.base_url, options.serve) as url:
                ran = subprocess.run(_locust(options, url, report_file), stdout=sys.stderr)
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 3
        if not report_file.exists():
            print(f"error: locust ended with {ran.returncode} and no report", file=sys.stderr)
            return 2
        report = json.loads(report_file.read_text(encoding="utf-8"))
    shape = {"users": options.users, "seconds": options.duration, "seed": options.seed}
    report = {"load": shape | {"protocols": options.protocols}} | report
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    judged = judge(report, limits)
    print(json.dumps(report, indent=2))
    print(table(judged), file=sys.stderr)
    return 0 if all(row.kept for row in judged) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Developers who type, as load. Goes to this machine only.",
        epilog="Example: python -m loadtest --users 16 --duration 60 --report load.json",
    )
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--duration", type=int, default=60, help="seconds")
    parser.add_argument("--base-url", default="", help="a running server on the loopback")
    parser.add_argument("--api-key", default="", help="its key")
    parser.add_argument("--protocols", default=",".join(EDITORS), help="which editors they use")
    parser.add_argument("--sources", default="", help="folder to type from (default: the stdlib)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limits", type=Path, default=LIMITS)
    parser.add_argument("--report", type=Path, help="file for the report")
    parser.add_argument("serve", nargs="*", help="after --: options of `tabwright serve`")
    options = parser.parse_args(argv)
    if not 1 <= options.users <= MOST_USERS:
        parser.error(f"--users {options.users}: give 1 to {MOST_USERS}")
    if not 1 <= options.duration <= MOST_SECONDS:
        parser.error(f"--duration {options.duration}: give 1 to {MOST_SECONDS} seconds")
    unknown = set(options.protocols.split(",")) - set(EDITORS)
    if unknown:
        parser.error(f"--protocols {','.join(sorted(unknown))}: known are {', '.join(EDITORS)}")
    return options


def _locust(options: argparse.Namespace, url: str, report: Path) -> list[str]:
    asked = {
        "--users": options.users,
        "--spawn-rate": max(1, options.users),
        "--run-time": f"{options.duration}s",
        "--host": url,
        "--protocols": options.protocols,
        "--sources": options.sources,
        "--seed": options.seed,
        "--api-key": options.api_key,
        "--report": report,
        "--stop-timeout": 5,
    }
    given = [str(word) for pair in asked.items() for word in pair if str(pair[1])]
    quiet = ["--headless", "--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0"]
    return [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), *quiet, *given]


@contextmanager
def _server(base_url: str, options: Sequence[str]) -> Iterator[str]:
    """The address to load; a server of our own if none is given."""
    if base_url:
        yield base_url.rstrip("/")
        return
    command = [sys.executable, "-m", "tabwright", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"(http://\S+)$", line.strip()):
                yield found[1]
                return
        raise RuntimeError("the server did not start; what it said stands above")
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
