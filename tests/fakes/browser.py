"""A real browser, headless, that looks at pages: Debian's, driven by Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

PROGRAMS = ("chromium-headless-shell", "chromium")
WIDTHS = {"wide": 1280, "narrow": 390}
PATIENCE_MS = 20_000  # the machine may be busy


def program() -> str | None:
    """The browser that is installed, None where there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run it for the length of the block; no event loop may run in this thread meanwhile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Root may not use the browser's own sandbox; what it shows here is ours.
        running = driver.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


def reads(place: Locator, text: str | re.Pattern[str]) -> None:
    """Wait until `place` has this text. A function in the page would be refused by its policy."""
    from playwright.sync_api import expect

    expect(place).to_have_text(text, timeout=PATIENCE_MS)


@contextmanager
def page(running: Browser, width: int = 1280, **options: Any) -> Iterator[Page]:
    """Open a page; what it complains about fails the test, but refusals by the gateway do not."""
    context = running.new_context(viewport={"width": width, "height": 900}, **options)
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type in ("error", "warning") and "Failed to load resource" not in said.text
            else None
        ),
    )
    try:
        yield opened
    finally:
        context.close()
    assert not complaints
