"""Judges pages: shows each in a browser of its own, in a sandbox, and looks at it from outside.

The page gets real clicks and keys. What is expected never enters the sandbox; what is looked at is
read where the page's scripts cannot reach (`evalkit.web_page`) and compared here. A look is taken
again until it holds or its patience is over, so a slow machine calls nobody wrong. What held must
hold again a moment later, or a page that shows one thing after the other would pass. Read
`WebJudge.judge` first.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import anyio

from evalkit.devtools import BrowserLost, DevTools, Refused
from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.rendering import solution_of
from evalkit.runtimes import Step as Program
from evalkit.runtimes import load_runtime
from evalkit.sandbox.seam import Conversation, Sandbox, SandboxFailed
from evalkit.toolchains import require
from evalkit.web_page import PageLost, WebPage
from evalkit.web_task import (
    STEPS,
    Action,
    Attribute,
    Box,
    Click,
    Count,
    Expectation,
    Focused,
    Hidden,
    Hover,
    Media,
    Press,
    Property,
    Reload,
    Rendered,
    Resize,
    Role,
    Scroll,
    Shown,
    Step,
    Style,
    Text,
    Texts,
    Type,
    View,
    WebTask,
)

_WALL_TIMES_CPU = 30.0
# A step that finds nothing is tried again for so long, and so often however slow the machine is.
_PATIENCE_S = 1.0
_LEAST_LOOKS = 10
_PAUSE_S = 0.05
# Waited at most before what held is looked at again: ahead of an action, and at the end of a view.
_MOMENTS_S = (0.12,)
_LAST_MOMENTS_S = (0.3, 0.3, 0.3)
_BY_ENDING = {
    Ending.MEMORY: Outcome.MEMORY,
    Ending.OUTPUT: Outcome.OUTPUT,
    Ending.CPU_TIME: Outcome.CPU_TIME,
    Ending.WALL_TIME: Outcome.WALL_TIME,
}


@dataclass(frozen=True, slots=True)
class WebJudge:
    """Judges problems whose tests are a web task's views."""

    sandbox: Sandbox

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Show one sample. See `evalkit.problem.Judge.judge`.

        Raises:
            ToolchainMissing: there is no browser on this machine.
        """
        runtime = load_runtime(problem.language)
        require(runtime)
        assert runtime.browser is not None, "a web task is in a language that a browser shows"
        task: WebTask = problem.tests["web"]
        document = solution_of(problem, runtime, sample.completion).encode(errors="replace")
        command = Command(runtime.browser.argv, env=runtime.browser.env, toolchain=runtime.name)
        bounds = browser_bounds(runtime.browser, limits)
        async with self.sandbox.talk(command, bounds) as talk:
            found, started = await _shown(talk, task, document)
            ran = await talk.end()
        if not started and ran.ending in (Ending.EXIT, Ending.SIGNAL):
            last = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2][-200:]
            raise SandboxFailed(f"the browser did not start: {last}")
        outcome, detail = _decided(found, ran)
        return Verdict(problem.task_id, sample.index, outcome, detail, ran.cpu_s)


def browser_bounds(browser: Program, limits: Limits) -> Limits:
    """A page's limits, and what the browser needs for itself on top of them."""
    return replace(
        limits,
        cpu_s=limits.cpu_s + browser.cpu_s,
        wall_s=limits.wall_s + browser.cpu_s * _WALL_TIMES_CPU,
        memory_mb=max(limits.memory_mb, browser.memory_mb),
        processes=max(limits.processes, browser.processes),
        disk_mb=max(limits.disk_mb, browser.disk_mb),
    )


async def _shown(
    talk: Conversation, task: WebTask, document: bytes
) -> tuple[tuple[Outcome, str] | None, bool]:
    """Try every view; None: the browser ended. Also say whether it ever spoke."""
    tools = DevTools(talk)
    started = False
    try:
        await tools.call("Browser.getVersion")
        started = True
        for number, view in enumerate(task.views, 1):
            if failed := await _failed_step(tools, view, document):
                return (Outcome.WRONG, f"view {number}, {failed}"), started
    except BrowserLost as lost:
        return ((Outcome.OUTPUT, "too many messages") if lost.flooded else None), started
    except PageLost as lost:
        return (Outcome.CRASHED, str(lost)), started
    except Refused as refused:
        return (Outcome.CRASHED, f"the page could not be shown: {refused}"), started
    return (Outcome.PASSED, ""), started


async def _failed_step(tools: DevTools, view: View, document: bytes) -> str:
    """Carry out the steps of a view; name the first that could not be, or that does not hold."""
    page = WebPage(tools, document, view.dialogs == "accept")
    await page.open(view.width, view.height, view.media)
    held: list[tuple[int, Expectation]] = []
    for number, step in enumerate(view.steps, 1):
        if not isinstance(step, Expectation):
            if fallen := await _fallen(page, held, _MOMENTS_S):
                return _named(*fallen)
            held.clear()
        if not await _patiently(page, step):
            return _named(number, step)
        if isinstance(step, Expectation) and not step.passing:
            held.append((number, step))
    if fallen := await _fallen(page, held, _LAST_MOMENTS_S):
        return _named(*fallen)
    await page.close()
    return ""


def _named(number: int, step: Step) -> str:
    verb = next(verb for verb, kind in STEPS.items() if isinstance(step, kind))
    return f"step {number}: {verb} {getattr(step, verb)}"


async def _fallen(
    page: WebPage, held: Sequence[tuple[int, Expectation]], moments_s: Sequence[float]
) -> tuple[int, Expectation] | None:
    """Look again after moments that no page can know; name what does not hold any more."""
    for moment_s in moments_s if held else ():
        await page.wait(moment_s * random.SystemRandom().uniform(0.2, 1.0))
        for number, step in held:
            try:
                if not await _holds(page, step):
                    return number, step
            except Refused:
                return number, step
    return None


async def _patiently(page: WebPage, step: Step) -> bool:
    """Try a step until it can be done, or holds."""
    patience_s = getattr(step, "within_ms", _PATIENCE_S * 1000) / 1000
    until = anyio.current_time() + patience_s
    looks = 0
    while True:
        try:
            if isinstance(step, Expectation):
                done = await _holds(page, step)
            else:
                done = await _carried_out(page, step)
        except Refused:
            done = False
        looks += 1
        if done:
            return True
        if looks >= _LEAST_LOOKS and anyio.current_time() >= until:
            return False
        await page.wait(_PAUSE_S)


async def _carried_out(page: WebPage, step: Action) -> bool:
    """Do something; False: there is nothing yet to do it with."""
    match step:
        case Click():
            return all([await _at(page, step.click, click=True) for _ in range(step.times)])
        case Hover():
            return await _at(page, step.hover, click=False)
        case Type():
            if step.into is not None and not await _at(page, step.into, click=True):
                return False
            for character in step.type:
                await page.press({" ": "Space", "\n": "Enter"}.get(character, character))
        case Press():
            for _ in range(step.times):
                await page.press(step.press)
        case Scroll():
            await page.look("scroll", name=step.scroll)
        case Resize():
            await page.resize(*step.resize)
        case Media():
            await page.prefer(step.media)
        case Reload():
            await page.reload()
        case _:
            await page.wait(step.wait_ms / 1000)
    return True


async def _at(page: WebPage, selector: str, *, click: bool) -> bool:
    point = await page.look("point", selector)
    if point is None:
        return False
    await (page.click if click else page.move)(*point)
    return True


async def _holds(page: WebPage, step: Expectation) -> bool:
    match step:
        case Text():
            return step.holds(await page.look("text", step.text))
        case Rendered():
            told = await page.roles(step.rendered)
            text = "".join(each.name for each in told if each.role == "StaticText")
            return step.holds(" ".join(text.split()))
        case Attribute():
            there = await page.look("count", step.attribute)
            value = await page.look("attribute", step.attribute, step.name)
            return bool(there) and (value is None if step.absent else step.holds(value))
        case Property():
            return step.holds(await page.look("property", step.property, step.name))
        case Style():
            return step.holds(await page.look("style", step.style, step.name, step.pseudo))
        case Box():
            return step.holds(await _side(page, step))
        case Count():
            return step.holds(await page.look("count", step.count))
        case Texts():
            return bool(await page.look("texts", step.texts) == step.are)
        case Shown():
            return bool(await page.look("shown", step.shown))
        case Hidden():
            return await page.look("shown", step.hidden) is False
        case Focused():
            return bool(await page.look("focused", step.focused))
        case Role():
            return await _has_role(page, step)
        case _:
            assert_never(step)


async def _side(page: WebPage, step: Box) -> float | None:
    value: float | None = await page.look("box", step.box, step.name)
    if step.minus is None or value is None:
        return value
    other: float | None = await page.look("box", step.minus, step.minus_name or step.name)
    return None if other is None else value - other


async def _has_role(page: WebPage, step: Role) -> bool:
    fitting = [
        told
        for told in await page.roles(step.inside)
        if told.role in step.role.split("|")
        and (step.named is None or " ".join(told.name.split()) == step.named)
        and all(
            str(told.states.get(name)).lower() == str(value).lower()
            for name, value in step.states.items()
        )
    ]
    return bool(fitting) if step.amount is None else len(fitting) == step.amount


def _decided(found: tuple[Outcome, str] | None, ran: Ran) -> tuple[Outcome, str]:
    """A limit that was reached counts before what was seen; then what was seen."""
    if ran.ending in _BY_ENDING:
        return _BY_ENDING[ran.ending], ""
    return found or (Outcome.CRASHED, "the browser ended")
