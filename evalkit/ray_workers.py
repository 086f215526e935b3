"""Judges on the machines of a Ray cluster: one worker a place, each with a sandbox of its own.

A worker judges one sample at a time and is lent to whoever asks. One that dies is replaced and its
sample is tried again by the caller, so that a lost machine makes nobody wrong. Every machine needs
this package, of the same version, and what its sandbox needs. The cluster is the one that
RAY_ADDRESS names, or this machine alone until the run ends. Read `judging_on_ray` first.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from evalkit.execution import Limits
from evalkit.problem import Judge, Problem, Sample, Verdict
from evalkit.sandbox.seam import SandboxFailed, SandboxUnavailable
from evalkit.session import judging_in
from tabwright.errors import InvalidRequest, MissingExtra

_CLOSE_S = 10.0


@asynccontextmanager
async def judging_on_ray(sandbox: str, places: int) -> AsyncIterator[Judge]:
    """Start `places` workers, and a cluster where none is named, for as long as the block lasts.

    Raises:
        MissingExtra: Ray is not installed.
        InvalidRequest: the cluster has fewer processors than places.
        SandboxUnavailable: a worker cannot isolate programs.
    """
    # It would report to its makers, and warn of a change that does not concern us.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    # Ray prints what it thinks of its workers; stdout is for results.
    with contextlib.redirect_stdout(sys.stderr):
        _connect(ray, places)
        try:
            workers = _Workers(ray, sandbox, places)
            await workers.started()
            yield workers
            with anyio.move_on_after(_CLOSE_S):
                await workers.close()
        finally:
            ray.shutdown()


def _connect(ray: Any, places: int) -> None:
    own: dict[str, Any] = {}
    if "RAY_ADDRESS" not in os.environ:
        # Nothing but this machine may reach it.
        own = {"address": "local", "num_cpus": places, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(
            include_dashboard=False if own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **own,
        )
    except (ConnectionError, RuntimeError) as error:
        raise SandboxUnavailable(f"no Ray cluster: {error}; see RAY_ADDRESS") from error
    there = int(ray.cluster_resources().get("CPU", 0))
    if there < places:
        ray.shutdown()
        raise InvalidRequest("jobs", places, f"the cluster has {there} processors")


class _Workers:
    """Hands samples to workers. See `evalkit.problem.Judge`."""

    def __init__(self, ray: Any, sandbox: str, places: int) -> None:
        self._ray = ray
        self._sandbox = sandbox
        self._remote = ray.remote(num_cpus=1)(_Worker)
        self._all = [self._remote.remote(sandbox) for _ in range(places)]
        self._give, self._take = anyio.create_memory_object_stream[Any](places)
        for worker in self._all:
            self._give.send_nowait(worker)

    async def started(self) -> None:
        """Wait for every worker's sandbox."""
        for worker in self._all:
            try:
                await worker.ready.remote()
            except self._ray.exceptions.RayError as error:
                raise SandboxUnavailable(f"a Ray worker could not start: {error}") from None

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Judge one sample in a worker that is free."""
        worker = await self._take.receive()
        try:
            verdict: Verdict = await worker.judge.remote(problem, sample, limits)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            self._all.remove(worker)
            worker = self._remote.remote(self._sandbox)
            self._all.append(worker)
            raise SandboxFailed(f"a Ray worker died: {type(error).__name__}") from None
        finally:
            self._give.send_nowait(worker)
        return verdict

    async def close(self) -> None:
        """Let every worker give back what its sandbox holds."""
        self._give.close()
        self._take.close()
        for worker in self._all:
            await worker.close.remote()


class _Worker:
    """Lives in a process of the cluster; its methods are called one at a time."""

    def __init__(self, sandbox: str) -> None:
        self._opened = ExitStack()
        self._portal = self._opened.enter_context(start_blocking_portal())
        opening = self._portal.wrap_async_context_manager(judging_in(sandbox))
        self._judge: Judge = self._opened.enter_context(opening)

    def ready(self) -> None:
        """Answer, once it is there."""

    def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Judge one sample."""
        return self._portal.call(self._judge.judge, problem, sample, limits)

    def close(self) -> None:
        """Close the sandbox."""
        self._opened.close()
