"""`tabwright cancel-bench`: how long an abandoned request keeps its slot, and what leaks.

A gateway with its engine is started on free ports; eight other requests run all the time. In each
path a request is abandoned again and again, and the time is taken until nothing of it is left: no
scope, no place in line, no engine slot, no KV block. Then a thousand requests are abandoned at
random moments, with the engine in its exact mode so that the neighbours' answers can be compared.
Figures are of the machine and its load; the limit is 20 ms plus one step of the engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from server.cancel_paths import PATHS, NotMet
from server.cancel_rig import OTHERS, SPARE, VICTIM, Rig, busy_rig
from server.listener import loop_options
from server.logs import log_to_stderr
from server.nginx_front import nginx_program
from server.settings import BUNDLED_MODEL, ServerSettings

_LIMIT_MS = 20.0
_MOMENTS_S = (0.03, 0.3)  # half leave while their prompt is read, half while tokens flow
_BROKEN = 4  # exit code, as for every other bug of ours


def main(argv: Sequence[str]) -> int:
    """Measure, print, and fail if anything leaked or a neighbour's answer changed."""
    parser = argparse.ArgumentParser(
        prog="tabwright cancel-bench",
        description="Measure cancellation in its six paths, and look for leaks.",
        epilog="Example: tabwright cancel-bench --rounds 30 --cancels 1000 --json",
    )
    parser.add_argument("--engine", choices=("cpu", "scripted", "triton"), default="cpu")
    parser.add_argument("--triton-url", default="127.0.0.1:8001", help="where engine triton asks")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="model folder")
    parser.add_argument("--threads", type=int, default=0, help="threads of the cpu engine")
    parser.add_argument("--rounds", type=int, default=30, help="cancels a path (default: 30)")
    parser.add_argument("--cancels", type=int, default=1000, help="random cancels (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    options = parser.parse_args(argv)
    log_to_stderr("warning")
    settings = ServerSettings(
        port=0,
        engine=options.engine,
        model=options.model,
        threads=options.threads,
        triton_url=(options.triton_url,),
        max_running=OTHERS + SPARE,
        drain_s=0.1,
        postprocess="off",  # answers must be long enough to be cancelled
    )
    work = partial(_measure, settings, options.rounds, options.cancels)
    report = anyio.run(work, backend_options=loop_options())
    print(json.dumps(report, indent=2) if options.json else _table(report))
    return 0 if report["leaks_nothing"] and not report["neighbours"]["changed"] else _BROKEN


async def _measure(settings: ServerSettings, rounds: int, cancels: int) -> dict[str, Any]:
    report: dict[str, Any] = {"engine": settings.engine, "model": settings.model.name}
    async with _loaded(settings) as rig:
        report["paths"] = {}
        for name, path in PATHS.items():
            if name == "nginx" and rig.proxied is None:
                report["paths"][name] = {"skipped": "nginx is not installed"}
                continue
            print(f"{name} …", file=sys.stderr)
            try:
                report["paths"][name] = _summary([await path(rig) for _ in range(rounds)])
            except NotMet as error:
                report["paths"][name] = {"skipped": str(error)}
        report["engine_step_ms"] = _summary(rig.engine.step_ms)
        if rig.engine.worker_pid is not None:
            report["killed_worker"] = await _killed_worker(rig)
    limit = _LIMIT_MS + report["engine_step_ms"]["p95"]
    report["limit_ms"] = round(limit, 1)
    for row in report["paths"].values():
        if "p95" in row:
            row["within_limit"] = row["p95"] <= limit
    print(f"{cancels} random cancels …", file=sys.stderr)
    report |= await _storm(settings.model_copy(update={"precision": "f32"}), cancels)
    return report


@asynccontextmanager
async def _loaded(settings: ServerSettings) -> AsyncIterator[Rig]:
    async with (
        busy_rig(settings, nginx=nginx_program() is not None) as rig,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(rig.others)
        await rig.until(lambda: rig.engine.others == OTHERS)
        yield rig
        tasks.cancel_scope.cancel()


async def _killed_worker(rig: Rig) -> dict[str, float]:
    """Kill the engine's worker in mid-stream: until the client is told of the error, and until a
    next request is answered; those that fail before then are counted and sent again."""
    while True:
        async with rig.client(rig.port, rig.victim(stream=True), connection="close") as stream:
            if not await rig.flows(stream):
                continue  # the model came to an end by itself
            os.kill(_alive(rig), signal.SIGKILL)
            killed = time.perf_counter()
            rest = b"".join([chunk async for chunk in stream])
            told_s = time.perf_counter() - killed
        failed = 0
        while await rig.text(rig.body(stream=True, max_tokens=1)) is None:
            failed += 1
            await anyio.sleep(0.005)
        served_s = time.perf_counter() - killed
        if b'"error"' in rest:
            return {
                "told_ms": round(told_s * 1000, 1),
                "failed_before": failed,
                "served_s": round(served_s, 2),
            }


def _alive(rig: Rig) -> int:
    """Process id of the worker; never 0, which would name our own process group."""
    pid = rig.engine.worker_pid
    assert pid, "an answer was streaming, so there is a worker"
    return pid


async def _storm(settings: ServerSettings, cancels: int) -> dict[str, Any]:
    """Abandon requests at random moments; count what is left, compare what neighbours got."""
    chance = random.Random(0)
    async with busy_rig(settings, nginx=False) as rig:
        for number in range(OTHERS):  # what each says when it is alone
            rig.expected[number] = await rig.text(rig.body(number, stream=True, max_tokens=96))
        await anyio.sleep(0.2)
        before = _census()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(rig.others, max_tokens=96))
            await rig.until(lambda: rig.engine.others == OTHERS)
            mid_stream = 0
            for _ in range(cancels):
                body = rig.victim(stream=chance.random() < 0.5)
                before_this = rig.engine.victim_tokens
                async with rig.client(rig.port, body, x_request_id=VICTIM):
                    await anyio.sleep(chance.random() * chance.choice(_MOMENTS_S))
                    mid_stream += rig.engine.victim_tokens > before_this
            await rig.until(rig.victim_is_gone)
            counted, wasted = _disconnects(rig)
            await rig.until(lambda: rig.compared >= 2 * OTHERS)
            tasks.cancel_scope.cancel()
        stats = rig.engine.stats
        await rig.until(lambda: stats().running + stats().waiting + rig.running() == 0)
        await anyio.sleep(0.5)  # for sockets that are being closed
        left = {
            "slots": stats().running + stats().waiting + rig.gateway.completer.admission.running,
            "kv_blocks": stats().kv_blocks_used,
            "requests_in_worker": await rig.engine.in_worker(),
            **{name: count - before[name] for name, count in _census().items()},
        }
        return {
            "random_cancels": cancels,
            "counted": counted,  # not those who left before the body was read, or were answered
            "after_a_token": mid_stream,
            "wasted_tokens": wasted,
            "left": left,
            "leaks_nothing": not any(count > 0 for count in left.values()),
            "neighbours": {"answers": rig.compared, "changed": rig.changed},
        }


def _disconnects(rig: Rig) -> tuple[float, float]:
    """Requests ended by their clients so far, and the tokens they wasted."""
    value = rig.gateway.reception.metrics.registry.get_sample_value
    reason = {"reason": "disconnect"}
    counts = (
        value("tabwright_cancels_total", reason),
        value("tabwright_wasted_tokens_total", reason),
    )
    return counts[0] or 0.0, counts[1] or 0.0


def _census() -> dict[str, int]:
    return {"tasks": len(asyncio.all_tasks()), "file_descriptors": len(os.listdir("/proc/self/fd"))}


def _summary(values: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "n": len(ordered),
        "p50": round(ordered[last // 2], 2),
        "p95": round(ordered[-(-last * 95 // 100)], 2),
        "max": round(ordered[last], 2),
    }


def _table(report: dict[str, Any]) -> str:
    step = report["engine_step_ms"]
    lines = [
        f"{report['model']} on {report['engine']}, {OTHERS} others running; engine step p50 "
        f"{step['p50']} ms, p95 {step['p95']} ms; limit 20 ms + step p95 = {report['limit_ms']} ms",
        "",
        f"{'ms until the slot is free':<28}{'n':>5}{'p50':>9}{'p95':>9}{'max':>9}",
    ]
    for name, row in report["paths"].items():
        if "skipped" in row:
            lines.append(f"{name:<28}skipped: {row['skipped']}")
            continue
        verdict = "" if row["within_limit"] else "  over the limit"
        figures = f"{row['n']:>5}{row['p50']:>9}{row['p95']:>9}{row['max']:>9}"
        lines.append(f"{name:<28}{figures}{verdict}")
    if killed := report.get("killed_worker"):
        lines.append(
            f"{'worker killed (kill -9)':<28}client told after {killed['told_ms']} ms, "
            f"next request served after {killed['served_s']} s"
        )
    left = ", ".join(f"{count} {name}" for name, count in report["left"].items())
    neighbours = report["neighbours"]
    lines += [
        "",
        f"{report['random_cancels']} random cancels, {report['after_a_token']} of them after a "
        f"token, left {left}",
        f"neighbours' answers: {neighbours['answers']} compared, {neighbours['changed']} changed",
    ]
    return "\n".join(lines)
