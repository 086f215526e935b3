"""The six paths of a cancel (behind a middleware and behind nginx are one, measured twice).

Each function abandons one request in its state and returns the milliseconds until nothing of it is
left. The rig keeps eight other requests running meanwhile.
"""

from __future__ import annotations

import time

import anyio

from server.cancel_rig import OTHERS, SPARE, VICTIM, Rig
from tabwright.errors import Unavailable

_STREAM = {"stream": True}
_ATTEMPTS = 50  # to meet a request in the state that a path is about


class NotMet(Unavailable):
    """A path's state did not come about."""


def _too_short(rig: Rig) -> NotMet:
    errors = f", or was an error, at last {rig.error!r}" if rig.error else ""
    return NotMet(f"every answer ended at once{errors}; give a model that answers longer")


async def _queued(rig: Rig) -> float:
    """The line before the engine: all slots are taken, the victim waits."""
    admission = rig.gateway.completer.admission
    for _ in range(_ATTEMPTS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.others, SPARE)
            await rig.until(lambda: admission.running == OTHERS + SPARE and rig.victim_is_gone())
            async with rig.client(rig.port, rig.victim(), x_request_id=VICTIM):
                await rig.until(lambda: bool(rig.gateway.reception.inflight.find(VICTIM)))
                waited = not rig.engine.victims
                left = time.perf_counter()
            free_ms = await rig.until(rig.victim_is_gone, left)
            tasks.cancel_scope.cancel()
        if waited:
            return free_ms
    raise _too_short(rig)


async def _before_first_token(rig: Rig) -> float:
    for _ in range(_ATTEMPTS):
        tokens = rig.engine.victim_tokens
        rig.engine.victim_entered = anyio.Event()
        async with rig.client(rig.port, rig.victim(), x_request_id=VICTIM):
            early = await rig.enters() and rig.engine.victim_tokens == tokens
            left = time.perf_counter()
        free_ms = await rig.until(rig.victim_is_gone, left)
        if early:
            return free_ms
    raise NotMet("no request was met before its first token; the model is too fast")


async def _mid_stream(rig: Rig) -> float:
    return await _leave_stream(rig, rig.port)


async def _behind_nginx(rig: Rig) -> float:
    assert rig.proxied is not None
    return await _leave_stream(rig, rig.proxied)


async def _behind_middleware(rig: Rig) -> float:
    return await _leave_stream(rig, rig.wrapped)


async def _leave_stream(rig: Rig, port: int) -> float:
    for _ in range(_ATTEMPTS):
        async with rig.client(port, rig.victim(**_STREAM), x_request_id=VICTIM) as stream:
            flows = await rig.flows(stream)
            left = time.perf_counter()
        free_ms = await rig.until(rig.victim_is_gone, left)
        if flows:
            return free_ms
    raise _too_short(rig)


async def _whole_answer(rig: Rig) -> float:
    for _ in range(_ATTEMPTS):
        enough = rig.engine.victim_tokens + 3
        rig.engine.victim_entered = anyio.Event()
        async with rig.client(rig.port, rig.victim(), x_request_id=VICTIM):
            await rig.enters()
            await rig.until(lambda: rig.engine.victim_tokens >= enough or not rig.engine.victims)  # noqa: B023
            flows = rig.engine.victims == 1
            left = time.perf_counter()
        free_ms = await rig.until(rig.victim_is_gone, left)
        if flows:
            return free_ms
    raise _too_short(rig)


async def _superseded(rig: Rig) -> float:
    session = {"x_tabwright_session": "editor"}
    for _ in range(_ATTEMPTS):
        body = rig.victim(**_STREAM)
        async with rig.client(rig.port, body, x_request_id=VICTIM, **session) as older:
            flows = await rig.flows(older)
            sent = time.perf_counter()
            async with rig.client(rig.port, rig.body(**_STREAM), **session):
                free_ms = await rig.until(rig.victim_is_gone, sent)
        await rig.until(lambda: rig.engine.others == OTHERS and rig.victim_is_gone())
        if flows:
            return free_ms
    raise _too_short(rig)


PATHS = {
    "queued": _queued,
    "before first token": _before_first_token,
    "mid-stream": _mid_stream,
    "whole answer": _whole_answer,
    "middleware": _behind_middleware,
    "nginx": _behind_nginx,
    "superseded": _superseded,
}
