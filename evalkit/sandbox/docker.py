"""The sandbox of a container engine: one container for each command, through the docker SDK.

The container's first process is a shell that unpacks the command's files from its stdin, then runs
the command. Images are named `evalkit-LANGUAGE`. Processor time is sampled, so what a command
shorter than a sample used is not known better than by the clock. A program that is missing is an
exit with 127 here. Read `DockerSandbox.run` first.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import anyio
import anyio.to_thread

from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.sandbox import cgroups
from evalkit.sandbox.container import Container, settings
from evalkit.sandbox.mounts import Toolchain
from evalkit.sandbox.seam import Conversation, SandboxFailed, SandboxUnavailable
from tabwright.errors import MissingExtra

LABEL = "evalkit.owner"
_SAMPLE_S = 0.1
# The files come first, of known length; what follows is the command's own input.
_UNPACK = 'cd /box && head -c "$1" | tar -xf - && shift && "$@"; exit $?'
# The output of the command, after its length, then what is collected.
_COLLECT = (
    'cd /box && head -c "$1" | tar -xf - && shift && n=$1 && shift || exit 70; w=""; '
    'while [ "$n" -gt 0 ]; do w="$w $1"; shift; n=$((n-1)); done; '
    '"$@" >/tmp/.out; code=$?; stat -c %020s /tmp/.out | tr " " 0; cat /tmp/.out; '
    "[ $code = 0 ] && tar -cf - --ignore-failed-read -- $w 2>/dev/null; exit $code"
)
_LENGTH = 21


async def open_runsc_sandbox(toolchains: Mapping[str, Toolchain] | None = None) -> DockerSandbox:
    """Open the sandbox with gVisor, a second kernel between programs and this machine's.

    Raises:
        SandboxUnavailable: no engine answers, or it does not know `runsc`.
        MissingExtra: the SDK is not installed.
    """
    return await open_docker_sandbox(toolchains, runtime="runsc")


async def open_docker_sandbox(
    toolchains: Mapping[str, Toolchain] | None = None,
    *,
    base_url: str | None = None,
    runtime: str | None = None,
) -> DockerSandbox:
    """Open the sandbox on the engine that DOCKER_HOST names.

    toolchains: not needed here, everything is in the images. runtime: another one that the engine
    knows, such as `runsc`.

    Raises:
        SandboxUnavailable: no engine answers, or it does not know the runtime.
        MissingExtra: the SDK is not installed.
    """
    try:
        sdk = importlib.import_module("docker")
    except ImportError as error:
        raise MissingExtra("docker", "docker") from error
    del toolchains
    try:
        client = await anyio.to_thread.run_sync(_connected, sdk, base_url, runtime)
    except (sdk.errors.DockerException, OSError) as error:
        raise SandboxUnavailable(
            f"no container engine answers ({error}); start one, or name it with DOCKER_HOST, "
            "or use --sandbox process"
        ) from error
    return DockerSandbox(client, sdk.errors, runtime)


def _connected(sdk: Any, base_url: str | None, runtime: str | None) -> Any:
    client = sdk.DockerClient(base_url=base_url) if base_url else sdk.from_env()
    known = client.info()["Runtimes"]
    if runtime is not None and runtime not in known:
        client.close()
        raise SandboxUnavailable(
            f"the container engine knows no runtime {runtime}, only {', '.join(sorted(known))}; "
            'install it and name it under "runtimes" in the daemon\'s configuration'
        )
    for container in client.containers.list(all=True, filters={"label": LABEL}):
        if not cgroups.owner_lives(cgroups.PREFIX + container.labels[LABEL]):
            container.remove(force=True, v=True)
    return client


class DockerSandbox:
    """Runs each command in a container of its own. See `evalkit.sandbox.seam.Sandbox`."""

    name = "docker"
    brings_toolchains = True

    def __init__(self, client: Any, errors: Any, runtime: str | None) -> None:
        self._client = client
        self._failure: type[Exception] = errors.DockerException
        self._no_image: type[Exception] = errors.ImageNotFound
        self._runtime = runtime

    async def run(self, command: Command, limits: Limits) -> Ran:
        """Run one command to its end. Never raises for what the command did."""
        async with self._started(command, limits) as container:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(container.feed, command.stdin)
                tasks.start_soon(container.sample, _SAMPLE_S)
                await container.drain()
                tasks.cancel_scope.cancel()
            ran = await container.ran()
        return _parted(ran, command) if command.collect else ran

    @contextlib.asynccontextmanager
    async def talk(self, command: Command, limits: Limits) -> AsyncIterator[Conversation]:
        """Start one command and speak to it inside the block; leaving kills everything of it."""
        failure: Exception | None = None
        async with (
            self._started(replace(command, collect=()), limits) as container,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(container.sample, _SAMPLE_S)
            try:
                yield container
            except Exception as error:  # noqa: BLE001 - raised below, out of the task group
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Give back everything that is held."""
        await anyio.to_thread.run_sync(self._client.close)

    @contextlib.asynccontextmanager
    async def _started(self, command: Command, limits: Limits) -> AsyncIterator[Container]:
        files = _archive(command.files)
        if command.collect:
            head = [_COLLECT, "sh", str(len(files)), str(len(command.collect)), *command.collect]
        else:
            head = [_UNPACK, "sh", str(len(files))]
        given = settings(command, limits, self._runtime) | {
            "image": f"evalkit-{command.toolchain or 'python'}",
            "command": ["sh", "-c", *head, *command.argv],
            "labels": {LABEL: cgroups.owner()},
        }
        container = Container(self._client, given, limits, self._failure)
        try:
            try:
                await anyio.to_thread.run_sync(container.start)
            except self._no_image:
                language = command.toolchain or "python"
                raise SandboxUnavailable(
                    f"the engine has no image {given['image']}; run: "
                    f"docker build -t {given['image']} sandboxes/{language}"
                ) from None
            except (self._failure, OSError) as error:
                raise SandboxFailed(f"{command.argv[0]}: the container engine: {error}") from error
            await container.write(files)
            yield container
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(container.remove)


def _archive(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            parts = PurePosixPath(name).parts
            if not parts or parts[0] == "/" or ".." in parts:
                raise ValueError(f"{name!r} is not a path inside the working folder")
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def _parted(ran: Ran, command: Command) -> Ran:
    """Part what the shell wrote: the output, then files, of which only plain ones count."""
    head = ran.stdout[:_LENGTH]
    if ran.ending is not Ending.EXIT or not head.strip().isdigit():
        return ran
    end = _LENGTH + int(head)
    found: dict[str, bytes] = {}
    packed = io.BytesIO(ran.stdout[end:])
    with contextlib.suppress(tarfile.TarError, EOFError), tarfile.open(fileobj=packed) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isreg() else None
            if file is not None and entry.name in command.collect:
                found[entry.name] = file.read()
    return replace(ran, stdout=ran.stdout[_LENGTH:end], files=found)
