"""A client from npm as a child process: calls, the pieces of its streams, and its own aborting.

`driver.mjs` in `tests/integration/clients` is the other side. Read `NpmClient.call` first.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import CLIENTS
from tests.fakes.live_gateway import PATIENCE_S


class ClientError(Exception):
    """What the client threw: its class, message, status, code, param and body."""

    def __init__(self, thrown: dict[str, Any]) -> None:
        super().__init__(f"{thrown.get('kind')}: {thrown.get('message')}")
        self.thrown = thrown


class NpmClient:
    """One running client; calls may overlap."""

    def __init__(self, module: str, home: Path) -> None:
        node = shutil.which("node")
        assert node
        self.process = subprocess.Popen(
            [node, "driver.mjs", f"./{module}.mjs"],
            cwd=CLIENTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*"},
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._listen, name=f"{module}-client")
        self._reader.start()
        self._id = 0
        self._pieces: dict[int, list[Any]] = {}
        self._ends: dict[int, dict[str, Any]] = {}

    def start(self, func: str, **args: Any) -> int:
        """Begin a call; the number is for the other methods."""
        self._id += 1
        self._pieces[self._id] = []
        self._write({"id": self._id, "func": func, "args": args})
        return self._id

    def abort(self, number: int) -> None:
        """Abort a call as an editor does."""
        self._write({"id": number, "abort": True})

    def first_piece(self, number: int) -> Any:
        """Wait until a stream has begun."""
        while not self._pieces[number]:
            assert number not in self._ends, self._ends[number]
            self._read()
        return self._pieces[number][0]

    def end(self, number: int) -> Any:
        """Wait for the end of a call: what it returned, or `ClientError`."""
        while number not in self._ends:
            self._read()
        if error := self._ends[number].get("error"):
            raise ClientError(error)
        return self._ends[number]["value"]

    def call(self, func: str, **args: Any) -> Any:
        """Call and wait."""
        return self.end(self.start(func, **args))

    def stream(self, func: str, **args: Any) -> list[Any]:
        """Call and wait: all pieces."""
        number = self.start(func, **args)
        self.end(number)
        return self._pieces[number]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def _read(self) -> None:
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"the client said nothing; exit {self.process.poll()}") from None
        message = json.loads(line)
        if "piece" in message:
            self._pieces[message["id"]].append(message["piece"])
        else:
            self._ends[message["id"]] = message


@contextmanager
def npm_client(module: str, home: Path) -> Iterator[NpmClient]:
    """Run the client of `module` with an empty home folder, so that nobody's settings are read."""
    client = NpmClient(module, home)
    try:
        yield client
    finally:
        client.close()
