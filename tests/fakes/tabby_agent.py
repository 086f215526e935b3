"""The real tabby-agent (npm) as a child process, driven as an editor plug-in drives it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import CLIENTS


class Agent:
    """tabby-agent 1.5 in its JSON-lines mode: `[id, {func, args}]` in, `[id, result]` out."""

    def __init__(self, home: Path) -> None:
        node = shutil.which("node")
        assert node
        self.process = subprocess.Popen(
            [node, str(CLIENTS / "node_modules" / "tabby-agent" / "dist" / "cli.js")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*"},
            text=True,
        )
        self.notifications: list[Any] = []
        self._answers: dict[int, Any] = {}
        self._id = 0

    def send(self, func: str, *args: Any) -> int:
        self._id += 1
        assert self.process.stdin
        self.process.stdin.write(json.dumps([self._id, {"func": func, "args": args}]) + "\n")
        self.process.stdin.flush()
        return self._id

    def answer(self, number: int) -> Any:
        assert self.process.stdout
        while number not in self._answers:
            line = self.process.stdout.readline()
            assert line, "tabby-agent died"
            answered, result = json.loads(line)
            if answered == 0:
                self.notifications.append(result)
            else:
                self._answers[answered] = result
        return self._answers[number]

    def call(self, func: str, *args: Any) -> Any:
        return self.answer(self.send(func, *args))

    def initialize(self, url: str, token: str = "") -> None:
        config = {
            "server": {"endpoint": url, "token": token},
            "anonymousUsageTracking": {"disable": True},
            "completion": {"debounce": {"mode": "fixed", "interval": 0}},
        }
        assert self.call("initialize", {"config": config, "clientProperties": {}}) is True


def document(text: str) -> dict[str, Any]:
    """An editor's document; `|` is the cursor."""
    position = text.index("|")
    return {
        "filepath": "src/total.py",
        "language": "python",
        "text": text.replace("|", ""),
        "position": position,
        "manually": False,
    }


@contextmanager
def tabby_agent(home: Path) -> Iterator[Agent]:
    """Run the agent with an empty home folder, so that nobody's settings are read."""
    agent = Agent(home)
    try:
        yield agent
    finally:
        agent.process.kill()
        agent.process.wait()
        for stream in (agent.process.stdin, agent.process.stdout):
            assert stream
            stream.close()
