"""Whether a browser in a sandbox can get at anything of the machine, tried by taking it there.

A page cannot go to these places by itself; a browser that was broken into could. So the browser is
told to, from outside. `evalkit doctor` calls this where a browser is installed.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from evalkit.benchmarks.web import LANGUAGE
from evalkit.devtools import BrowserLost, DevTools, Refused
from evalkit.execution import Command, Limits
from evalkit.runtimes import load_runtime
from evalkit.sandbox.checks import CheckResult
from evalkit.sandbox.mounts import USER
from evalkit.sandbox.seam import Sandbox, SandboxFailed
from evalkit.web_judge import browser_bounds

_LIMITS = Limits(cpu_s=20, wall_s=120)
_TEXT = "document.documentElement.innerText"
_LOADING_S = 0.5
_LOOKS = 6
_OWN = Path(__file__).resolve()


async def page_checks(
    sandbox: Sandbox, report: Callable[[CheckResult], None] = lambda _: None
) -> list[CheckResult]:
    """Go to files and to a server of this machine; call `report` after each.

    Raises:
        SandboxFailed: there is no browser to be seen.
    """
    runtime = load_runtime(LANGUAGE)
    assert runtime.browser is not None, "the language of pages has a browser"
    command = Command(runtime.browser.argv, env=runtime.browser.env, toolchain=runtime.name)
    results = []
    with (
        tempfile.NamedTemporaryFile("w", suffix=".txt") as file,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        secret = secrets.token_hex(8)
        file.write(secret)
        file.flush()
        server.setblocking(False)
        async with sandbox.talk(command, browser_bounds(runtime.browser, _LIMITS)) as talk:
            tools = DevTools(talk)
            try:
                # Where something must be seen, or the checks below would look at nothing.
                if USER not in await _read(tools, "file:///etc/passwd"):
                    raise SandboxFailed("the browser does not show what is in its sandbox")
                found = [
                    ("a file", secret in await _read(tools, f"file://{file.name}")),
                    ("this package", "page_checks" in await _read(tools, f"file://{_OWN}")),
                    ("passwords", "root:" in await _read(tools, "file:///etc/shadow")),
                ]
                await _read(tools, f"http://127.0.0.1:{server.getsockname()[1]}/")
                found.append(("a server", _was_called(server)))
            except BrowserLost as lost:
                raise SandboxFailed(f"the browser: {lost}") from None
    for what, seen in found:
        finding = "the browser got there" if seen else "the browser did not get there"
        results.append(CheckResult(f"page, {what} of the machine", not seen, finding))
        report(results[-1])
    return results


async def _read(tools: DevTools, place: str) -> str:
    """Go to a place and read what is shown."""
    made = await tools.call("Target.createTarget", url=place)
    attached = await tools.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
    text = ""
    for _ in range(_LOOKS):
        await tools.listen(_LOADING_S)
        with contextlib.suppress(Refused):
            found = await tools.call("Runtime.evaluate", attached["sessionId"], expression=_TEXT)
            text = str(found["result"].get("value", ""))
        if text.strip():
            break
    return text


def _was_called(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True
