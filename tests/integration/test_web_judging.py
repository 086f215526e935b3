"""Pages in a real browser: references pass, wrong ones and hacks do not, nothing gets out."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from evalkit.cli import main
from evalkit.execution import Limits
from evalkit.hacking import hacks, targets
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.registry import load_benchmark
from evalkit.session import judging_in, open_sandbox
from evalkit.web_checks import page_checks

pytestmark = [pytest.mark.needs("sandbox"), pytest.mark.needs("chromium")]
# Mostly waited for: more at a time than there are cores.
AT_ONCE = 4
LIMITS = Limits(cpu_s=10, wall_s=300)
COUNTER = "click_counter"
# Of each kind one: layout, roles, keys, a dialog, media.
SOME = (COUNTER, "card_grid", "price_table", "arrow_menu", "confirm_dialog", "dark_theme")
RIGHT = "\n".join(
    [
        '<html><p id="total">0</p><button id="add">Add one</button>',
        '<button id="clear" disabled>Start over</button><script>',
        "const show = (n) => { total.textContent = n; clear.disabled = !n; };",
        'add.addEventListener("click", (e) => e.isTrusted && show(+total.textContent + 1));',
        "clear.onclick = () => show(0);",
        "</script>",
    ]
)


def problem(name: str) -> Problem:
    return next(p for p in load_benchmark("web").problems("html") if p.entry_point == name)


async def judged(
    rows: list[tuple[Problem, str]], limits: Limits = LIMITS, at_once: int = AT_ONCE
) -> list[Verdict]:
    """Verdicts in the order of the rows."""
    found: dict[int, Verdict] = {}
    limiter = anyio.CapacityLimiter(at_once)
    async with judging_in("process") as judge, anyio.create_task_group() as tasks:

        async def one(number: int, task: Problem, completion: str) -> None:
            async with limiter:
                sample = Sample(task.task_id, number, completion)
                found[number] = await judge.judge(task, sample, limits)

        for number, row in enumerate(rows):
            tasks.start_soon(one, number, *row)
    return [found[number] for number in range(len(rows))]


@pytest.mark.anyio
async def test_references_and_other_ways_to_do_it_pass_and_what_is_wrong_does_not() -> None:
    rows = [(problem(name), problem(name).reference or "") for name in SOME]
    counter = problem(COUNTER)
    rows += [(counter, RIGHT), (counter, "<p>0</p>"), (counter, "")]
    rows += [(counter, RIGHT + "<script>addEventListener('click', () => alert('hi'))</script>")]
    outcomes = [verdict.outcome for verdict in await judged(rows)]
    wanted = [Outcome.PASSED] * 7 + [Outcome.WRONG, Outcome.WRONG, Outcome.PASSED]
    assert outcomes == wanted


@pytest.mark.anyio
async def test_limits_are_told_apart_from_wrong_pages() -> None:
    counter = problem(COUNTER)
    loop = RIGHT + "<script>add.onclick = () => { for (;;); }</script>"
    memory = "<script>const k = []; for (;;) k.push(new Uint8Array(9e7).fill(1));</script>"
    found = await judged([(counter, loop), (counter, memory)], Limits(cpu_s=2, wall_s=300))
    assert [verdict.outcome for verdict in found] == [Outcome.CPU_TIME, Outcome.MEMORY]


@pytest.mark.anyio
async def test_hacks_that_end_soon_are_not_accepted() -> None:
    counter = problem(COUNTER)
    quick = (
        "patch_basic_types",
        "redefine_lookups",
        "named_elements",
        "close_at_the_first_click",
        "show_one_after_the_other",
        "script_the_events",
        "claim_every_role",
    )
    found = await judged([(counter, hacks("html")[name].text) for name in quick])
    assert Outcome.PASSED not in {verdict.outcome for verdict in found}


@pytest.mark.anyio
async def test_a_right_page_passes_whatever_it_does_to_its_own_functions() -> None:
    """The hacks fail because they solve nothing, not because of what they break."""
    counter = problem(COUNTER)
    broken = (
        "<script>Document.prototype.querySelectorAll = Element.prototype.checkVisibility = "
        "Element.prototype.getBoundingClientRect = window.getComputedStyle = () => { throw 1; };"
        "Array.from = JSON.stringify = () => 0;</script>"
        '<img name="querySelectorAll"><img name="activeElement">'
    )
    assert [v.outcome for v in await judged([(counter, RIGHT + broken)])] == [Outcome.PASSED]


@pytest.mark.slow  # `evalkit doctor` asks the same
@pytest.mark.anyio
async def test_a_page_reaches_no_file_and_no_server_of_the_machine() -> None:
    async with open_sandbox("process") as sandbox:
        results = await page_checks(sandbox)
    assert results
    assert [result for result in results if not result.contained] == []


def test_a_run_over_recorded_pages_ends_in_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = tmp_path / "samples.jsonl"
    rows = [{"task_id": "web/01", "completion": page} for page in (RIGHT, "<p>no")]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["passk", "--benchmark", "web", "--lang", "html", "--samples", str(samples)]
    words += ["-n", "2", "-k", "1", "--allow-partial", "--out", str(tmp_path / "run"), "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["languages"]["html"]["pass_at_k"]["1"]["value"] == 0.5
    assert report["outcomes"] == {"passed": 1, "wrong": 1}
    assert "web/01" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_every_reference_passes_and_every_mutant_fails(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--benchmark", "web", "--lang", "html", "--mutants", "--jobs", str(AT_ONCE), "--json"]
    assert main(["check", *words]) == 0
    row = json.loads(capsys.readouterr().out)["languages"]["html"]
    assert row["mutants"]["run"] == row["mutants"]["failed"] >= 3 * row["references"]


@pytest.mark.slow
def test_no_hack_is_accepted_and_every_solution_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(targets("html")) == 3
    assert main(["hack-test", "--lang", "html", "--jobs", str(AT_ONCE), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["languages"]["html"]["hacks"] >= 8
