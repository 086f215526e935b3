"""One gateway in this process: the engine started, requests answered until a stop signal.

The command runs it as it is, or in each of several worker processes (`server.workers`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio

from server.app import create_app
from server.engines.registry import load_engine
from server.gateway import Gateway
from server.listener import Listener
from server.logs import log_to_stderr
from server.settings import ServerSettings
from server.tracing import tracing
from tabwright.artifact import ModelArtifact
from tabwright.engine import CompletionEngine
from tabwright.errors import ConfigError

Beside = Callable[..., Coroutine[Any, Any, None]]


async def serve(
    settings: ServerSettings,
    ready: Callable[[str, int], None],
    beside: Beside,
    listening: socket.socket | None = None,
) -> None:
    """Start the engine and answer requests until a stop signal.

    ready: called with the model's name and the port. beside: runs as long as the gateway does; it
    gets the listener, the gateway's parts and a `task_status` to say that it has started.
    listening: a socket that is bound already, in place of the settings' address.

    Raises:
        CorruptArtifact: the model folder cannot be used.
        ConfigError: the address cannot be listened on.
        MissingExtra: the engine's packages, or those of tracing, are not installed.
    """
    artifact = ModelArtifact.load(settings.model)
    with tracing(settings.otel_endpoint) as on_visit:
        async with AsyncExitStack() as engines:
            engine = await engines.enter_async_context(
                load_engine(settings.engine, artifact, **settings.engine_options())
            )
            others = {
                name: await engines.enter_async_context(_further(settings, name, artifact.name))
                for name in settings.models
            }
            try:
                async with anyio.create_task_group() as tasks:
                    app = create_app(engine, settings, tasks, on_visit, others)
                    gateway: Gateway = app.state.gateway
                    gateway.live.follow(_log)
                    listener = Listener(
                        app,
                        gateway.reception.inflight,
                        gateway.live,
                        lambda port: ready(artifact.name, port),
                    )
                    await tasks.start(beside, listener, gateway)
                    await listener.listen(listening)
                    tasks.cancel_scope.cancel()
            except ExceptionGroup as group:  # of one: generations hand their errors to who listens
                raise group.exceptions[0] from None


def _further(
    settings: ServerSettings, name: str, default: str
) -> AbstractAsyncContextManager[CompletionEngine]:
    if name == default:
        raise ConfigError(f"models.{name}: the default model has this name; choose another one")
    own = settings.of_model(name)
    return load_engine(own.engine, ModelArtifact.load(own.model), **own.engine_options())


def _log(settings: ServerSettings) -> None:
    log_to_stderr(settings.log_level, settings.log_format)
