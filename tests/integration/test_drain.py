"""Draining with answers that nobody owns alone: shared ones finish, guessed ones are given up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import PATIENCE_S, live_gateway

SLOW: dict[str, object] = {"answer": "word " * 400, "token_delay_s": 0.05}
LONG: dict[str, Any] = {"postprocess": "off", "drain_s": 30}


def test_a_speculation_does_not_hold_up_the_end(tiny: ModelArtifact) -> None:
    body = {"prompt": "y = ", "suffix": "", "max_tokens": 40, "temperature": 0}
    with live_gateway(tiny, options=SLOW, speculate=True, **LONG) as live:
        httpx.post(f"{live.url}/v1/completions", json=body, timeout=PATIENCE_S).raise_for_status()
        live.wait(lambda: live.engine.stats().running == 1, "it speculates")
        start = time.perf_counter()
        live.listener.handle_exit(15, None)
        live.wait(lambda: live.engine.stats().running == 0, "the speculation ends")
        assert time.perf_counter() - start < LONG["drain_s"] / 2


def test_a_shared_answer_is_finished_for_everybody(tiny: ModelArtifact) -> None:
    body = {"segments": {"prefix": "x = ", "suffix": ""}}
    with (
        live_gateway(tiny, options=SLOW, editor_max_tokens=30, **LONG) as live,
        ThreadPoolExecutor() as pool,
    ):
        url = f"{live.url}/v1/completions"
        both = [pool.submit(httpx.post, url, json=body, timeout=PATIENCE_S) for _ in range(2)]
        live.wait(lambda: len(live.gateway.reception.inflight) == 2, "both listen")
        live.listener.handle_exit(15, None)
        answers = [job.result() for job in both]
        assert live.counted("tabwright_suggestions_total", source="joined") == 1
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["choices"][0]["text"] for answer in answers}) == 1
