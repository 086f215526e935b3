"""`tabwright triton`: a real server outlives its starter, is found again and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.tritonserver import environment
from server.tritonserver.environment import NoTriton
from server.tritonserver.node import SHARED_MEMORY, Node, Ports, _named
from tabwright.artifact import ModelArtifact
from tabwright.errors import ConfigError

needs_triton = pytest.mark.needs("triton")
PATIENCE_S = 400


def triton(*words: str, home: Path, code: int = 0) -> str:
    """Run the command as a process of its own; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "tabwright", "triton", *words, "--home", str(home)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout or done.stderr


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports are made once for all tests."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture
def home(tmp_path: Path, shared: Path) -> Iterator[Path]:
    (tmp_path / "exports").symlink_to(shared)
    yield tmp_path
    Node(tmp_path).kill()


@pytest.fixture
def up(home: Path, tiny: ModelArtifact) -> Any:
    """Its ports and process, as another process was told."""
    words = ("up", "--model", str(tiny.path), "--port", "0", "--json")
    return json.loads(triton(*words, home=home))


@needs_triton
def test_it_outlives_its_starter_is_found_again_and_leaves_nothing(
    home: Path, up: Any, tiny: ModelArtifact
) -> None:
    told = json.loads(triton("status", "--json", home=home))
    assert told["up"]
    assert told["ready"]
    assert told["grpc"] == up["grpc"]
    assert told["answer_ms"][tiny.name] > 0
    assert told["gauges"]["active"] == 0
    assert "answers in" in triton("status", home=home)
    running = Node(home).running()
    assert running is not None
    assert list(SHARED_MEMORY.glob(running.shm_prefix + "*"))
    triton("down", home=home)
    assert not list(SHARED_MEMORY.glob(running.shm_prefix + "*"))
    assert not _named(running.shm_prefix)
    assert json.loads(triton("status", "--json", home=home, code=3)) == {"up": False}
    triton("down", home=home)


@needs_triton
def test_what_a_killed_server_left_is_swept_by_the_next(
    home: Path, up: Any, tiny: ModelArtifact
) -> None:
    before = Node(home).running()
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    triton("status", home=home, code=3)
    again = json.loads(triton("up", "--model", str(tiny.path), "--port", "0", "--json", home=home))
    assert again["pid"] != up["pid"]
    assert not list(SHARED_MEMORY.glob(before.shm_prefix + "*"))
    assert not _named(before.shm_prefix)


@needs_triton
def test_a_second_up_finds_the_first_and_another_model_is_refused(
    home: Path, up: Any, tiny: ModelArtifact
) -> None:
    words = ("up", "--model", str(tiny.path), "--port", "0", "--json")
    assert json.loads(triton(*words, home=home))["pid"] == up["pid"]
    other = home / "other"
    (other / "m").mkdir(parents=True)
    (other / "m" / "config.pbtxt").touch()
    said = triton("up", "--repository", str(other), home=home, code=2)
    assert "tabwright triton down" in said


@needs_triton
def test_two_at_once_start_one(home: Path, tiny: ModelArtifact) -> None:
    command = [
        *(sys.executable, "-m", "tabwright", "triton", "up", "--home", str(home)),
        *("--model", str(tiny.path), "--port", "0", "--json"),
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=PATIENCE_S)[0]) for process in both]
    assert told[0]["pid"] == told[1]["pid"]
    running = Node(home).running()
    assert running is not None
    assert running.pid == told[0]["pid"]


@needs_triton
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_to_end_while_it_starts_leaves_nothing(
    home: Path, tiny: ModelArtifact, number: signal.Signals
) -> None:
    command = [
        *(sys.executable, "-m", "tabwright", "triton", "serve", "--home", str(home)),
        *("--model", str(tiny.path), "--port", "0"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while (running := Node(home).running()) is None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert running is not None
            process.send_signal(number)
            assert process.wait(60) == 128 + number
        finally:
            process.kill()
    assert Node(home).running() is None
    assert not _named(running.shm_prefix)
    assert not list(SHARED_MEMORY.glob(running.shm_prefix + "*"))


@needs_triton
def test_a_model_that_does_not_load_is_told_and_nothing_is_left(home: Path) -> None:
    model = home / "repository" / "broken"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text('name: "broken"\nbackend: "python"\n')
    (model / "1" / "model.py").write_text("raise ValueError('no such weights')\n")
    words = ("up", "--repository", str(model.parent), "--port", "0")
    said = triton(*words, home=home, code=3)
    assert "Triton did not start: failed to load 'broken'" in said
    assert "no such weights" in said
    assert Node(home).running() is None
    assert not (home / "server.json").exists()


@needs_triton
def test_an_export_that_was_altered_is_not_served(home: Path, tiny: ModelArtifact) -> None:
    export = home / "altered"
    (export / "model_repository" / "m").mkdir(parents=True)
    (export / "model_repository" / "m" / "config.pbtxt").touch()
    shutil.copytree(tiny.path, export / "checkpoint")
    weights = next((export / "checkpoint").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    said = triton("up", "--repository", str(export / "model_repository"), home=home, code=4)
    assert weights.name in said


@needs_triton
def test_a_port_that_is_taken_is_named(home: Path, tiny: ModelArtifact) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        words = ("up", "--model", str(tiny.path), "--port", str(port))
        assert f"{port} is not free" in triton(*words, home=home, code=2)


@needs_triton
@pytest.mark.slow
def test_serve_starts_its_triton_again_and_ends_it_with_the_gateway(
    home: Path, tiny: ModelArtifact
) -> None:
    command = [
        *(sys.executable, "-m", "tabwright", "triton", "serve", "--home", str(home)),
        *("--model", str(tiny.path), "--port", "0", "--drain-s", "0.1"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("Ctrl-C stops" in line for line in process.stdout)
            first = Node(home).running()
            assert first is not None
            os.kill(first.pid, signal.SIGKILL)
            deadline = time.monotonic() + PATIENCE_S
            while (running := Node(home).running()) in (None, first):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert running is not None
            assert running.ports == first.ports
            assert not _named(first.shm_prefix)
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
    assert Node(home).running() is None
    assert not _named(running.shm_prefix)


@pytest.mark.parametrize(
    ("system", "machine", "libc", "reason"),
    [
        ("Darwin", "arm64", ("", ""), "Linux on x86_64, this is Darwin on arm64"),
        ("Linux", "aarch64", ("glibc", "2.36"), "Linux on x86_64, this is Linux on aarch64"),
        ("Linux", "x86_64", ("glibc", "2.31"), "glibc 2.35"),
        ("Linux", "x86_64", ("", ""), "glibc 2.35"),
    ],
)
def test_a_machine_that_cannot_run_the_wheel_is_told_why(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: tuple[str, str], reason: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    with pytest.raises(NoTriton, match=reason):
        environment.ensure()


@needs_triton
@pytest.mark.slow
def test_an_installation_that_fails_says_what_pip_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(environment, "folder", lambda: tmp_path / "triton-server")
    with pytest.raises(NoTriton, match="could not be installed: No matching distribution"):
        environment.ensure()
    assert not environment.installed()


@needs_triton
@pytest.mark.slow
def test_50_answers_are_those_of_transformers_and_a_broken_server_is_told_in_time() -> None:
    """As `make measure-triton` does it, with the bundled model."""
    command = [sys.executable, "-m", "docs.results.triton_contract"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("first", [-5, 65534, 70000])
def test_what_is_no_port_is_refused(first: int) -> None:
    with pytest.raises(ConfigError, match=f"--port {first}: the first of three"):
        Ports.starting_at(first)


def test_free_ports_are_three_different_ones() -> None:
    ports = Ports.starting_at(0)
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
