"""One page in a browser, as its reader has it: opened in a window, clicked, typed at, looked at.

The page is what the one address there is answers with; every other request fails. Input comes from
the browser itself, so scripts cannot tell it from a reader's. What is looked at is read in a world
that the page's scripts cannot reach, or from the browser's own tree of roles and names. Read
`WebPage.open` first.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import anyio

from evalkit.devtools import DevTools, Refused

ADDRESS = "http://localhost/"
_WORLD = "judge"
_LOADED_WITHIN_S = 10.0
_PART_S = 0.05
_MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}
# name → (virtual key code, text that it types)
_KEYS = {
    "Backspace": (8, ""), "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""),
    "Space": (32, " "), "PageUp": (33, ""), "PageDown": (34, ""), "End": (35, ""),
    "Home": (36, ""), "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""),
    "ArrowDown": (40, ""), "Delete": (46, ""),
}  # fmt: skip


class PageLost(Exception):
    """The page closed itself, or the process that showed it ended; the message says which."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that assistive technology is told of."""

    role: str
    name: str
    states: Mapping[str, Any]


@dataclass(slots=True)
class WebPage:
    """A tab. Everything that waits also answers what the page asks for meanwhile."""

    tools: DevTools
    document: bytes
    accept_dialogs: bool
    target: str = ""
    session: str = ""
    lost: str = ""
    _loaded: bool = False

    async def open(self, width: int, height: int, media: Mapping[str, str]) -> None:
        """Open a window that shares nothing with another, and load the page in it."""
        self.tools.listener = self._hear
        context = await self.tools.call("Target.createBrowserContext")
        made = await self.tools.call(
            "Target.createTarget", url="about:blank", browserContextId=context["browserContextId"]
        )
        self.target = made["targetId"]
        attached = await self.tools.call(
            "Target.attachToTarget", targetId=self.target, flatten=True
        )
        self.session = attached["sessionId"]
        await self._call("Inspector.enable")
        await self._call("Page.enable")
        await self._call("Fetch.enable", patterns=[{"urlPattern": "*"}])
        await self._call("Emulation.setFocusEmulationEnabled", enabled=True)
        await self.resize(width, height)
        await self.prefer(media)
        await self._load("Page.navigate", url=ADDRESS)

    async def close(self) -> None:
        """Close the tab."""
        await self.tools.call("Target.closeTarget", targetId=self.target)

    async def reload(self) -> None:
        """Load the page again."""
        await self._load("Page.reload")

    async def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._call("Emulation.setDeviceMetricsOverride", **size)

    async def prefer(self, media: Mapping[str, str]) -> None:
        """Set what the reader prefers."""
        features = [{"name": name, "value": value} for name, value in media.items()]
        await self._call("Emulation.setEmulatedMedia", features=features)

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self.tools.listen(seconds)
        self._check()

    async def look(self, what: str, selector: str = "*", name: Any = "", pseudo: str = "") -> Any:
        """Ask one thing of the elements that match; None where nothing matches.

        Raises:
            Refused: the page is being replaced, or the selector is none.
        """
        world = await self._call("Page.createIsolatedWorld", frameId=self.target, worldName=_WORLD)
        found = await self._call(
            "Runtime.callFunctionOn",
            functionDeclaration=_looking(),
            executionContextId=world["executionContextId"],
            arguments=[{"value": value} for value in (what, selector, name, pseudo)],
            returnByValue=True,
        )
        if "exceptionDetails" in found:
            raise Refused(f"{what} of {selector}")
        return found["result"].get("value")

    async def roles(self, inside: str = "html") -> list[Told]:
        """What assistive technology is told of an element and all in it, in the page's order."""
        root = (await self._call("DOM.getDocument", depth=0))["root"]["nodeId"]
        node = (await self._call("DOM.querySelector", nodeId=root, selector=inside))["nodeId"]
        found = await self._call("Accessibility.queryAXTree", nodeId=node)
        return [
            Told(
                role=node["role"]["value"],
                name=node.get("name", {}).get("value", ""),
                states={
                    row["name"]: row["value"].get("value") for row in node.get("properties", ())
                },
            )
            for node in found["nodes"]
            if not node["ignored"]
        ]

    async def click(self, x: float, y: float) -> None:
        """Press and let go of the mouse's first button at a point of the window."""
        await self.move(x, y)
        button = {"x": x, "y": y, "button": "left", "clickCount": 1}
        await self._call("Input.dispatchMouseEvent", type="mousePressed", buttons=1, **button)
        await self._call("Input.dispatchMouseEvent", type="mouseReleased", **button)

    async def move(self, x: float, y: float) -> None:
        """Move the mouse to a point of the window."""
        await self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def press(self, keys: str) -> None:
        """Press a key; names of modifiers stand before it, with `+`."""
        *modifiers, name = keys.split("+") if len(keys) > 1 else [keys]
        bits = sum(_MODIFIERS[modifier] for modifier in modifiers)
        code, text = _KEYS[name] if name in _KEYS else (_code(name), name)
        key = {"key": " " if name == "Space" else name, "windowsVirtualKeyCode": code}
        key |= {"code": name if name in _KEYS else "", "modifiers": bits}
        if text and not bits & ~_MODIFIERS["Shift"]:
            await self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **key)
        else:
            await self._call("Input.dispatchKeyEvent", type="rawKeyDown", **key)
        await self._call("Input.dispatchKeyEvent", type="keyUp", **key)

    async def _load(self, method: str, **params: Any) -> None:
        """Load, and wait for the end of it; a page that goes on loading is looked at as it is."""
        self._loaded = False
        await self._call(method, **params)
        patience = anyio.current_time() + _LOADED_WITHIN_S
        while not self._loaded and anyio.current_time() < patience:
            await self.wait(_PART_S)

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._check()
        try:
            return await self.tools.call(method, self.session, **params)
        except Refused:
            self._check()
            raise

    def _check(self) -> None:
        if self.lost:
            raise PageLost(self.lost)

    def _hear(self, event: str, fields: dict[str, Any]) -> None:
        """Answer what the page asks, and note what becomes of it."""
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Page.javascriptDialogOpening":
            accept = self.accept_dialogs or fields.get("type") == "beforeunload"
            self.tools.post("Page.handleJavaScriptDialog", self.session, accept=accept)
        elif event == "Fetch.requestPaused":
            self._answer(fields)
        elif event == "Inspector.targetCrashed":
            self.lost = "the page's process ended"
        elif event == "Target.detachedFromTarget" and fields.get("sessionId") == self.session:
            self.lost = self.lost or "the page closed itself"

    def _answer(self, request: dict[str, Any]) -> None:
        url = urlsplit(request["request"]["url"])
        own = f"{url.scheme}://{url.netloc}{url.path}" == ADDRESS
        if own and request["frameId"] == self.target and request["resourceType"] == "Document":
            self.tools.post(
                "Fetch.fulfillRequest",
                self.session,
                requestId=request["requestId"],
                responseCode=200,
                responseHeaders=[{"name": "Content-Type", "value": "text/html; charset=utf-8"}],
                body=base64.b64encode(self.document).decode(),
            )
        else:
            fault = {"requestId": request["requestId"], "errorReason": "BlockedByClient"}
            self.tools.post("Fetch.failRequest", self.session, **fault)


def _code(sign: str) -> int:
    """Give a letter's or digit's key; another sign's number may be the code of a key, as Delete."""
    return ord(sign.upper()) if sign.isascii() and sign.isalnum() else 0


@cache
def _looking() -> str:
    return (resources.files("evalkit.inside") / "look.js").read_text(encoding="utf-8")
