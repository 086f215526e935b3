"""A run: every sample judged once, resumed where it was, and looked at again where in doubt."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from evalkit.execution import Limits
from evalkit.generate import References
from evalkit.passk import Places, decide, evaluate, judge_references, limits_for
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.runs import RunFolder, RunNotKept, RunTaken, claimed, write_page
from evalkit.sandbox.seam import SandboxFailed
from tabwright.errors import InvalidRequest

pytestmark = pytest.mark.anyio
PROBLEMS = [
    Problem(f"t/{n}", "python", "def f():\n", reference=f"    return {n}\n") for n in range(5)
]
LIMITS = {problem.task_id: Limits() for problem in PROBLEMS}


@dataclass
class Oracle:
    """Says what it is told to, and remembers what it was asked."""

    say: Callable[[Sample], Outcome] = lambda _: Outcome.PASSED
    asked: list[tuple[str, int]] = field(default_factory=list)
    at_once: int = 0
    most: int = 0

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        assert limits.cpu_s > 0
        self.asked.append((problem.task_id, sample.index))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await anyio.sleep(0.001)
            return Verdict(problem.task_id, sample.index, self.say(sample), cpu_s=0.1)
        finally:
            self.at_once -= 1


async def run(
    folder: Path, judge: Oracle, n: int = 3, source: References | None = None
) -> list[Verdict]:
    with RunFolder(folder, {"n": n}) as opened:
        await evaluate(
            PROBLEMS, n, source or References(), judge, opened, LIMITS, Places(2, 3), lambda _: None
        )
        return list(opened.verdicts())


async def test_every_sample_is_judged_once_and_only_so_many_at_a_time(tmp_path: Path) -> None:
    judge = Oracle()
    verdicts = await run(tmp_path / "run", judge)
    wanted = sorted((p.task_id, i) for p in PROBLEMS for i in range(3))
    assert sorted((v.task_id, v.index) for v in verdicts) == wanted
    assert sorted(judge.asked) == wanted
    assert judge.most <= 2


async def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Oracle()

    def stop(_: Sample) -> Outcome:
        if len(first.asked) == 6:
            raise RuntimeError("killed")
        return Outcome.PASSED

    first.say = stop
    with pytest.raises(RuntimeError, match="killed"):
        await run(tmp_path / "run", first)
    with (tmp_path / "run" / "verdicts.jsonl").open("a") as file:
        file.write('{"task_id": "t/0", "ind')  # what a kill leaves of a line
    second = Oracle()
    verdicts = await run(tmp_path / "run", second)
    keys = [(v.task_id, v.index) for v in verdicts]
    assert len(keys) == len(set(keys)) == 15
    assert len(second.asked) < 15
    third = Oracle()
    await run(tmp_path / "run", third)
    assert third.asked == []


async def test_a_folder_with_another_plan_is_refused(tmp_path: Path) -> None:
    await run(tmp_path / "run", Oracle(), n=1)
    with pytest.raises(InvalidRequest, match="another n"):
        await run(tmp_path / "run", Oracle(), n=2)


async def test_a_source_that_fails_ends_the_run_and_keeps_what_is_done(tmp_path: Path) -> None:
    class Failing(References):
        async def sample(self, problem: Problem, index: int) -> Sample:
            if problem.task_id == "t/3":
                raise InvalidRequest("endpoint", "x", "it is gone")
            return await super().sample(problem, index)

    with pytest.raises(InvalidRequest, match="gone"):
        await run(tmp_path / "run", Oracle(), source=Failing())
    assert len(await run(tmp_path / "run", Oracle())) == 15


@pytest.mark.parametrize(
    ("said", "outcome", "times"),
    [
        ([Outcome.PASSED], Outcome.PASSED, 1),
        ([Outcome.WRONG], Outcome.WRONG, 1),
        ([Outcome.CPU_TIME, Outcome.CPU_TIME], Outcome.CPU_TIME, 2),
        ([Outcome.CPU_TIME, Outcome.PASSED, Outcome.PASSED], Outcome.PASSED, 3),
        ([Outcome.CPU_TIME, Outcome.PASSED, Outcome.MEMORY], Outcome.UNJUDGED, 3),
        ([SandboxFailed("x"), Outcome.PASSED], Outcome.PASSED, 2),
        ([SandboxFailed("x")] * 3, Outcome.UNJUDGED, 3),
    ],
)
async def test_what_may_be_the_machines_fault_is_looked_at_again(
    said: list[Outcome | SandboxFailed], outcome: Outcome, times: int
) -> None:
    turns = iter(said)

    def say(_: Sample) -> Outcome:
        turn = next(turns)
        if isinstance(turn, SandboxFailed):
            raise turn
        return turn

    judge = Oracle(say)
    verdict = await decide(judge, PROBLEMS[0], Sample("t/0", 4, ""), Limits())
    assert (verdict.outcome, verdict.index, len(judge.asked)) == (outcome, 4, times)


async def test_references_give_every_problem_its_limit() -> None:
    verdicts = await judge_references(PROBLEMS, Oracle(), 2, lambda _: None)
    assert set(verdicts) == set(LIMITS)
    assert limits_for(1.5).cpu_s == 15.0
    assert limits_for(0.001).cpu_s == 2.0
    assert limits_for(None).cpu_s == Limits().cpu_s
    assert limits_for(1.5).wall_s > 90


async def test_a_verdict_whose_sample_is_lost_counts_once(tmp_path: Path) -> None:
    await run(tmp_path / "run", Oracle())
    (tmp_path / "run" / "samples.jsonl").unlink()
    again = Oracle()
    assert len(await run(tmp_path / "run", again)) == 15
    assert again.asked == []


def test_two_runs_at_a_time_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with claimed(folder, {}), pytest.raises(RunTaken, match="at work"), claimed(folder, {}):
        pass
    with claimed(folder, {}):
        assert (folder / "plan.json").is_file()


def test_a_folder_that_holds_no_run_is_refused_by_the_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="to write in"), claimed(tmp_path / "file", {}):
        pass
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InvalidRequest, match=r"plan\.json"), claimed(tmp_path, {}):
        pass
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "verdicts.jsonl").write_text("no\n")
    with RunFolder(tmp_path, {}) as opened, pytest.raises(InvalidRequest, match="line 1"):
        list(opened.verdicts())


def test_a_full_disk_says_that_the_run_can_go_on(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunFolder(tmp_path, {}) as opened:
        opened.add_sample(Sample("t/0", 0, "x"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(RunNotKept, match="make room"):
                opened.add_sample(Sample("t/0", 1, "x" * 200))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with RunFolder(tmp_path, {}) as again:
        again.add_sample(Sample("t/0", 2, "y"))
        texts = [sample.completion for sample in again.samples()]
    assert texts in (["x", "y"], ["x", "x" * 200, "y"]), "half a line is cut off or completed"


def test_half_characters_of_a_sample_are_spelled_out_on_a_page(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "a\ud800b")
    assert (tmp_path / "page.html").read_text() == "a\\ud800b"
