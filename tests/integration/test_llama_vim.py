"""llama.vim in a real Vim: a suggestion is shown, accepted, and goes on when the key is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.vim import vim_with_llama
from tests.repository.editor_snippets import snippets

pytestmark = pytest.mark.needs("llama.vim")

ANSWER = "len(items)):\n        total += items[i]\n"
TEXT = "def f(items):\n    total = 0\n    return total\n"
FILLED = TEXT.replace("0\n", "0\n    for i in range(len(items)):\n        total += items[i]\n")

# The plug-in sends no temperature.
GREEDY: Any = {"default_temperature": 0}


class Statuses:
    """The statuses of all answers, seen from a middleware."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def watch(self, app: ASGIApp) -> ASGIApp:
        async def outer(scope: Scope, receive: Receive, send: Send) -> None:
            async def seeing(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self.seen.append(message["status"])
                await send(message)

            await app(scope, receive, seeing)

        return outer


def configured(live: LiveGateway, **more: object) -> str:
    return "let g:llama_config = " + json.dumps({"endpoint_fim": f"{live.url}/infill", **more})


def served(live: LiveGateway, outcome: str = "ok") -> float:
    return live.counted("tabwright_requests_total", protocol="llamacpp", outcome=outcome)


def test_a_suggestion_is_shown_and_accepted(tiny: ModelArtifact, tmp_path: Path) -> None:
    with live_gateway(tiny, options={"answer": ANSWER}, api_key="key", **GREEDY) as live:
        (documented,) = snippets("vim", section="llama.vim")
        config = documented.pointed_at(live.url, "tiny", "key")
        with vim_with_llama(tmp_path, TEXT, config) as vim:
            vim.press("jo    for i in range(")
            vim.wait_shown()
            # It asks at once what may come after the suggestion, as if that were accepted.
            live.wait(lambda: served(live) >= 2, "the speculative request was answered")
            vim.press("\t")
            assert vim.save() == FILLED
        live.wait_free()


def test_one_line_may_be_accepted(tiny: ModelArtifact, tmp_path: Path) -> None:
    with live_gateway(tiny, options={"answer": ANSWER}, **GREEDY) as live:
        config = configured(live, keymap_fim_accept_line="<C-L>")
        with vim_with_llama(tmp_path, TEXT, config) as vim:
            vim.press("jo    for i in range(")
            vim.wait_shown()
            vim.press("\x0c")
            assert "range(len(items)):\n" in vim.save()


def test_yanked_text_warms_the_cache_and_then_comes_with_requests(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    statuses = Statuses()
    options = {"answer": ANSWER}
    with live_gateway(tiny, options=options, wrap=statuses.watch, **GREEDY) as live:
        config = configured(live, ring_update_ms=50)
        with vim_with_llama(tmp_path, TEXT * 3, config) as vim:
            vim.press("yG")
            live.wait(lambda: bool(statuses.seen), "the cache was warmed")
            assert live.engine.stats().generated_tokens == 0
            assert served(live) == 0
            vim.press("jo    for i in range(")
            vim.wait_shown()
            vim.press("\t")
            assert vim.save() == FILLED + TEXT * 2
        assert set(statuses.seen) == {200}


def test_a_wrong_key_shows_nothing_and_harms_nothing(tiny: ModelArtifact, tmp_path: Path) -> None:
    with live_gateway(tiny, options={"answer": ANSWER}, api_key="key", **GREEDY) as live:
        config = configured(live, api_key="wrong")
        with vim_with_llama(tmp_path, TEXT, config) as vim:
            vim.press("jo    x = ")
            live.wait(lambda: served(live, "caller_error") >= 1, "the key was refused")
            assert vim.save() == TEXT.replace("0\n", "0\n    x = \n")
