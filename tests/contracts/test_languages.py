"""Every language's probes end as they must, in a sandbox; a missing toolchain skips by name."""

from __future__ import annotations

import anyio
import pytest

from evalkit.execution import Limits
from evalkit.probes import OUTCOMES, Probe, probes
from evalkit.problem import Verdict
from evalkit.runtimes import load_runtime, runtime_names
from evalkit.session import judging_in
from evalkit.toolchains import missing_programs
from tests.conftest import CORE_LANGUAGES

LIMITS = Limits(cpu_s=1.5, wall_s=90)
AT_ONCE = 2


def rows() -> list[object]:
    marks = {
        name: () if name in CORE_LANGUAGES else (pytest.mark.slow,) for name in runtime_names()
    }
    return [pytest.param(name, marks=marks[name]) for name in runtime_names()]


@pytest.mark.needs("sandbox")
@pytest.mark.anyio
@pytest.mark.parametrize("name", rows())
async def test_every_probe_ends_as_it_must(name: str) -> None:
    runtime = load_runtime(name)
    if missing := missing_programs(runtime):
        pytest.skip(
            f"{', '.join(missing)} not installed (evalkit toolchains install --lang {name})"
        )
    surprises: list[str] = []
    at_once = anyio.CapacityLimiter(AT_ONCE)
    async with judging_in("process") as judge, anyio.create_task_group() as tasks:

        async def look(probe: Probe) -> None:
            async with at_once:
                found: Verdict = await judge.judge(probe.problem, probe.sample, LIMITS)
            if found.outcome is not probe.outcome:
                surprises.append(f"{probe.name}: {found.outcome} ({found.detail})")

        for probe in probes(runtime):
            tasks.start_soon(look, probe)
    assert not surprises


@pytest.mark.parametrize("name", runtime_names())
def test_every_language_has_the_probes_that_can_be_written_in_it(name: str) -> None:
    runtime = load_runtime(name)
    there = {path.stem for path in (runtime.folder / "probes").iterdir()}
    assert there <= set(OUTCOMES)
    # A page cannot end the process that shows it.
    least = {"passes", "wrong", "loops"} | ({"crashes"} if runtime.browser is None else set())
    assert least <= there
