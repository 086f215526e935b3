"""`tabwright serve`: read settings, start the engine, serve until Ctrl-C, drain."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial

import anyio
from anyio.abc import TaskStatus

from server.gateway import Gateway
from server.listener import Listener, loop_options
from server.logs import log_to_stderr
from server.reload import Reloader
from server.serving import serve
from server.settings import ServerSettings
from server.workers import Workers
from tabwright.settings import add_flags, load_settings, parse_flags, settings_file


def main(argv: Sequence[str]) -> int:
    """Serve until stopped; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="tabwright serve",
        description="Serve completions to editors over HTTP. Ctrl-C drains and stops.",
        epilog="Example: tabwright serve --port 8123 --engine cpu",
    )
    add_flags(parser, ServerSettings)
    config, flags = parse_flags(parser, argv)
    read = partial(load_settings, ServerSettings, "server", flags, os.environ, config)
    settings = read()
    log_to_stderr(settings.log_level, settings.log_format)
    file = settings_file(os.environ, config)
    ready = partial(_announce, settings)
    if settings.workers > 1:
        workers = Workers(settings, ready)
        reloader = Reloader(file, read, workers.take)
        watched = partial(reloader.run, watch=settings.reload_config)
        return anyio.run(workers.run, watched, backend_options=loop_options())

    async def beside(_: Listener, gateway: Gateway, *, task_status: TaskStatus[None]) -> None:
        reloader = Reloader(file, read, gateway.live.replace)
        await reloader.run(watch=settings.reload_config, task_status=task_status)

    anyio.run(serve, settings, ready, beside, backend_options=loop_options())
    return 0


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
