"""`tabwright serve`: read settings, start the engine, serve until Ctrl-C, drain."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

import anyio

from server.app import create_app
from server.engines.registry import load_engine
from server.listener import Listener, loop_options
from server.logs import log_to_stderr
from server.settings import ServerSettings
from tabwright.artifact import ModelArtifact
from tabwright.settings import add_flags, load_settings, parse_flags


def main(argv: Sequence[str]) -> int:
    """Serve until stopped; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="tabwright serve",
        description="Serve completions to editors over HTTP. Ctrl-C drains and stops.",
        epilog="Example: tabwright serve --port 8123 --engine cpu",
    )
    add_flags(parser, ServerSettings)
    config, flags = parse_flags(parser, argv)
    settings = load_settings(ServerSettings, "server", flags, os.environ, config)
    log_to_stderr(settings.log_level, settings.log_format)
    anyio.run(serve, settings, partial(_announce, settings), backend_options=loop_options())
    return 0


async def serve(settings: ServerSettings, ready: Callable[[str, int], None]) -> None:
    """Start the engine and answer requests until a stop signal.

    Raises:
        CorruptArtifact: the model folder cannot be used.
        ConfigError: the address cannot be listened on.
        MissingExtra: the engine's packages are not installed.
    """
    artifact = ModelArtifact.load(settings.model)
    async with load_engine(settings.engine, artifact, **settings.engine_options()) as engine:
        try:
            async with anyio.create_task_group() as tasks:
                app = create_app(engine, settings, tasks)
                inflight = app.state.gateway.reception.inflight
                await Listener(app, inflight, settings, partial(ready, artifact.name)).listen()
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:  # of one: generations hand their errors to who listens
            raise group.exceptions[0] from None


def _announce(settings: ServerSettings, model: str, port: int) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{port}"
    body = {
        "prompt": "def total(values):\n    result = 0\n    for i in range(len(",
        "suffix": "\n        result += values[i]\n    return result\n",
        "stop": ["\n"],
    }
    variable = "TABWRIGHT_SERVER_API_KEY" if settings.api_key else "TABWRIGHT_KEY"
    key = f" -H 'Authorization: Bearer '${variable}" if settings.closed else ""
    quoted = json.dumps(body).replace("'", "'\\''")
    token = '\ntoken = "<your API key>"' if settings.closed else ""
    keys = (
        f"Keys are in {settings.keys_file}; to make one: tabwright keys create --name you "
        f"--keys-file {settings.keys_file}\n"
        if settings.keys_file
        else ""
    )
    print(
        f"\nTabwright serves {model} ({settings.engine}) at {url}\n\n"
        f"Try it:\n  curl {url}/v1/completions{key} -H 'Content-Type: application/json' \\\n"
        f"    -d '{quoted}'\n\n"
        "Editors with the Tabby plug-in: ~/.tabby-client/agent/config.toml\n"
        f'  [server]\n  endpoint = "{url}"{token.replace(chr(10), chr(10) + "  ")}\n\n'
        f"OpenAI-style clients: base URL {url}/v1, model {model}\n"
        f"{keys}"
        "Ctrl-C stops.",
        file=sys.stdout,
        flush=True,
    )
