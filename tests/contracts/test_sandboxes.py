"""What every sandbox promises about running and speaking to one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from evalkit.execution import Command, Ending, Limits
from evalkit.registry import load_benchmark
from evalkit.sandbox.checks import run_checks
from evalkit.sandbox.docker import open_docker_sandbox
from evalkit.sandbox.process import open_process_sandbox
from evalkit.sandbox.seam import Sandbox, SandboxFailed
from tests.fakes.docker_engine import engine

pytestmark = [pytest.mark.needs("sandbox"), pytest.mark.anyio]

SOON = Limits(cpu_s=5, wall_s=30, memory_mb=256)
ECHO = b"""
import sys
while head := sys.stdin.buffer.read(4):
    message = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    sys.stdout.buffer.write(head + message[::-1])
    sys.stdout.buffer.flush()
"""


DOCKER = [pytest.mark.needs("docker"), pytest.mark.slow]


@pytest.fixture(scope="session")
def engine_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine that all tests share, started for the first that asks."""
    with engine(tmp_path_factory.mktemp("docker")) as address:
        yield address


@pytest.fixture(params=["process", pytest.param("docker", marks=DOCKER)])
async def sandbox(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Sandbox]:
    assert anyio_backend
    opened: Sandbox
    if request.param == "process":
        opened = await open_process_sandbox()
    else:
        address: str = request.getfixturevalue("engine_address")
        opened = await open_docker_sandbox(base_url=address)
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("light", [False, True])
async def test_a_command_sees_its_files_and_its_exit_is_told(sandbox: Sandbox, light: bool) -> None:
    script = "cat very/below/a; cat; ./b; touch very/below/c; echo err >&2; exit 3"
    files = {"very/below/a": b"file ", "b": b"#!/bin/sh\necho $0\n", "empty": b""}
    ran = await sandbox.run(Command(("sh", "-c", script), files, light=light), SOON)
    assert (ran.ending, ran.code, ran.stderr) == (Ending.EXIT, 3, b"err\n")
    assert ran.stdout == b"file ./b\n"


@pytest.mark.parametrize("light", [False, True])
async def test_stdin_is_given_and_files_are_collected(sandbox: Sandbox, light: bool) -> None:
    command = Command(
        ("sh", "-c", "cat >out; ln -s /etc/passwd link; mkfifo fifo"),
        stdin=b"x" * 300_000,
        collect=("out", "link", "fifo", "missing"),
        light=light,
    )
    ran = await sandbox.run(command, SOON)
    assert ran.succeeded
    assert dict(ran.files) == {"out": b"x" * 300_000}


@pytest.mark.parametrize(
    ("script", "limits", "ending"),
    [
        ("while :; do :; done", Limits(cpu_s=0.3, wall_s=30), Ending.CPU_TIME),
        ("sleep 20", Limits(wall_s=0.3), Ending.WALL_TIME),
        ("yes", SOON, Ending.OUTPUT),
        ("yes >&2", SOON, Ending.OUTPUT),
        ("head -c 400m /dev/zero | tail", Limits(memory_mb=64), Ending.MEMORY),
        ("kill -SEGV $$", SOON, Ending.SIGNAL),
    ],
)
async def test_each_limit_ends_the_command_and_is_named(
    sandbox: Sandbox, script: str, limits: Limits, ending: Ending
) -> None:
    ran = await sandbox.run(Command(("sh", "-c", script)), limits)
    assert ran.ending is ending
    assert ran.code is None


async def test_messages_go_back_and_forth_until_the_conversation_ends(sandbox: Sandbox) -> None:
    command = Command(("python3", "echo.py"), {"echo.py": ECHO})
    async with sandbox.talk(command, SOON) as conversation:
        assert await conversation.ask(b"abc") == b"cba"
        assert await conversation.ask(b"x" * 500_000) == b"x" * 500_000
        ran = await conversation.end()
        assert await conversation.ask(b"late") is None
    assert (ran.ending, ran.signal, ran.stdout) == (Ending.SIGNAL, 9, b"")


async def test_a_program_with_a_form_of_its_own_is_read_up_to_a_mark(sandbox: Sandbox) -> None:
    async with sandbox.talk(Command(("cat",)), SOON) as conversation:
        await conversation.send(b"one\0two\0rest")
        assert await conversation.until(b"\0") == b"one"
        with anyio.move_on_after(0.2) as given_up:
            assert await conversation.until(b"\0") == b"two"
            await conversation.until(b"\0")
        assert given_up.cancelled_caught
        await conversation.send(b" of it\0" + b"x" * 100_000)
        assert await conversation.until(b"\0") == b"rest of it"
        assert await conversation.until(b"\0", limit=50_000) is None
        ran = await conversation.end()
        assert await conversation.until(b"\0") is None
    assert ran.stdout == b""


# A program's last line → how it ends, its exit status or its signal, its output.
PYTHON_ENDINGS: dict[str, tuple[Ending, int, bytes | None]] = {
    "print(__name__, __file__, sys.argv)": (
        Ending.EXIT,
        0,
        b"__main__ /box/p.py ['p.py', 'a']\n",
    ),
    "exit('why')": (Ending.EXIT, 1, b""),
    "sys.exit(300)": (Ending.EXIT, 44, b""),
    "os.abort()": (Ending.SIGNAL, 6, b""),
    "raise ValueError('no')": (Ending.EXIT, 1, b""),
    "atexit.register(print, 'bye')": (Ending.EXIT, 0, b"bye\n"),
    "threading.Thread(target=print, args=('t',)).start()": (Ending.EXIT, 0, b"t\n"),
    "import near; print(near.x)": (Ending.EXIT, 0, b"1\n"),
    "print(subprocess.run([sys.executable, '-c', 'pass']).returncode)": (Ending.EXIT, 0, b"0\n"),
    "def f(n): return n and f(n - 1)\nf(990)": (Ending.EXIT, 0, b""),
    "def f(n): return n and f(n - 1)\nf(1010)": (Ending.EXIT, 1, b""),
    "print(hash('a') == hash(str('a')), list({'x', 'y', 'z'}))": (Ending.EXIT, 0, None),
}


@pytest.mark.parametrize("body", PYTHON_ENDINGS)
async def test_a_python_program_ends_the_same_warm_and_started_anew(
    sandbox: Sandbox, body: str
) -> None:
    files = {
        "p.py": f"import atexit, os, subprocess, sys, threading\n{body}\n".encode(),
        "near.py": b"x = 1",
    }
    warm = await sandbox.run(Command(("python3", "p.py", "a"), files), SOON)
    anew = ("python3", "-X", "utf8", "p.py", "a")
    started = await sandbox.run(Command(anew, files), SOON)
    light = await sandbox.run(Command(anew, files, light=True), SOON)
    ending, number, stdout = PYTHON_ENDINGS[body]
    assert (warm.ending, warm.code if warm.code is not None else warm.signal) == (ending, number)
    assert warm.stdout == started.stdout == light.stdout
    assert stdout is None or warm.stdout == stdout
    for other in (started, light):
        assert (warm.ending, warm.code, warm.signal) == (other.ending, other.code, other.signal)
        assert warm.stderr == other.stderr


@pytest.mark.parametrize("light", [False, True])
async def test_a_program_inherits_no_ignored_signal(sandbox: Sandbox, light: bool) -> None:
    """`yes` ends when nobody reads any more, which it does not where SIGPIPE is ignored."""
    script = "{ yes; echo $? >&3; } 3>&2 | head -n 1"
    ran = await sandbox.run(Command(("bash", "-c", script), light=light), SOON)
    assert (ran.stdout, ran.stderr) == (b"y\n", b"141\n")


async def test_a_light_program_that_is_not_there_is_a_failure(sandbox: Sandbox) -> None:
    try:
        ran = await sandbox.run(Command(("no-such-program",), light=True), SOON)
    except SandboxFailed:  # an engine refuses to make the container
        return
    assert (ran.ending, ran.code) == (Ending.EXIT, 127)
    assert b"no-such-program" in ran.stderr


async def test_a_conversation_with_a_program_that_ends_has_no_reply(sandbox: Sandbox) -> None:
    async with sandbox.talk(Command(("sh", "-c", "exit 7")), SOON) as conversation:
        assert await conversation.ask(b"x" * 200_000) is None
        ran = await conversation.end()
    assert (ran.ending, ran.code) == (Ending.EXIT, 7)


async def test_what_the_block_raises_comes_out_as_it_is(sandbox: Sandbox) -> None:
    with pytest.raises(KeyError):
        async with sandbox.talk(Command(("sleep", "20")), SOON):
            raise KeyError("the caller's own")


async def test_a_program_that_is_missing_is_no_verdict(sandbox: Sandbox) -> None:
    if sandbox.name == "docker":
        ran = await sandbox.run(Command(("no-such-program",)), SOON)
        assert ran.code == 127, "a departure that docker.py names"
        return
    with pytest.raises(SandboxFailed, match="no-such-program"):
        await sandbox.run(Command(("no-such-program",)), SOON)


@pytest.mark.needs("docker")
@pytest.mark.slow
@pytest.mark.parametrize(("benchmark", "language"), [("humaneval", "python"), ("core", "c")])
def test_a_container_engine_judges_as_the_command_is_told_to(
    engine_address: str, tmp_path: Path, benchmark: str, language: str
) -> None:
    rows = []
    for problem in load_benchmark(benchmark).problems(language)[:2]:
        assert problem.reference is not None
        wrong = cut_in_half(problem.reference)
        rows += [{"task_id": problem.task_id, "completion": c} for c in (problem.reference, wrong)]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["passk", "--benchmark", benchmark, "--lang", language, "--problems", "2", "--json"]
    words += ["--sandbox", "docker", "--samples", str(samples), "-n", "2"]
    done = evalkit(*words, "--out", str(tmp_path / "run"), DOCKER_HOST=engine_address)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["passed"], found["failed"], found["unjudged"]) == (2, 2, 0)


@pytest.mark.needs("docker")
@pytest.mark.slow
def test_an_engine_without_the_image_or_gvisor_is_a_clear_error(engine_address: str) -> None:
    words = ["check", "--benchmark", "core", "--lang", "lua", "--sandbox", "docker"]
    done = evalkit(*words, DOCKER_HOST=engine_address)
    assert done.returncode == 3
    assert "docker build -t evalkit-lua sandboxes/lua" in done.stderr
    done = evalkit("doctor", "--sandbox", "runsc", DOCKER_HOST=engine_address)
    if done.returncode != 0:
        assert done.returncode == 3
        assert "knows no runtime runsc" in done.stderr


def cut_in_half(reference: str) -> str:
    return reference[: len(reference) // 2]


def evalkit(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from evalkit.cli import main; sys.exit(main())"]
    return subprocess.run(
        [*command, *words], env=os.environ | env, capture_output=True, text=True, check=False
    )


async def test_every_attack_is_contained_and_nothing_is_left(sandbox: Sandbox) -> None:
    results = await run_checks(sandbox)
    assert len({result.name for result in results}) >= 35
    assert [result for result in results if not result.contained] == []


def test_where_no_engine_answers_the_error_says_so() -> None:
    # In a process of its own: the SDK leaves its socket open when its first call fails.
    code = (
        "import anyio\n"
        "from evalkit.sandbox.docker import open_docker_sandbox as opened\n"
        "anyio.run(lambda: opened(base_url='unix:///nowhere/docker.sock'))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "SandboxUnavailable: no container engine answers" in done.stderr
    assert "DOCKER_HOST" in done.stderr
