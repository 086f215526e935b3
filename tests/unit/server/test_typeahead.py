"""What may be answered from an earlier suggestion, what never, and what is let go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from hypothesis import given
from hypothesis import strategies as st

from server.caller import Caller, Wishes
from server.generation import Generation
from server.inflight import Running, Source
from server.typeahead import TypeAhead, TypeAheadLimits, reusable
from tabwright.errors import EngineFailed
from tabwright.request import CompletionRequest, Finish, SamplingParams, Snippet, Suggestion, Usage

pytestmark = pytest.mark.anyio
ASKED = CompletionRequest(prefix="for i in ", suffix="\n    print(i)\n")
LIMITS = TypeAheadLimits(ttl_s=60, size=1 << 20)


@dataclass
class Writer:
    """Stands for the engine: says `answer` character by character whenever `turn` is set."""

    answer: str = "range(10):"
    open: bool = True
    fails: bool = False
    started: list[str] = field(default_factory=list)
    running: int = 0
    go: anyio.Event = field(default_factory=anyio.Event)

    @asynccontextmanager
    async def start(
        self, request: CompletionRequest, meter: Generation
    ) -> AsyncIterator[AsyncIterator[Suggestion]]:
        self.started.append(request.prefix)
        self.running += 1
        try:
            yield self._write(meter)
        finally:
            self.running -= 1

    async def _write(self, meter: Generation) -> AsyncIterator[Suggestion]:
        if self.fails:
            raise EngineFailed("broken")
        for character in self.answer:
            if not self.open:
                await self.go.wait()
            await anyio.lowlevel.checkpoint()
            meter.tokens += 1
            yield Suggestion(character)
        yield Suggestion("", Finish.STOP, Usage(7, len(self.answer)))

    def step(self) -> None:
        self.go.set()
        self.go = anyio.Event()


def memory(tasks: TaskGroup, **options: Any) -> TypeAhead:
    return TypeAhead(tasks, options.pop("limits", LIMITS), **options)


def at(prefix: str, **fields: Any) -> CompletionRequest:
    return replace(ASKED, prefix=prefix, **fields)


def running(**fields: Any) -> Running:
    return Running("id", "openai", **{"wishes": Wishes(speculate=True)} | fields)


async def ask(
    typeahead: TypeAhead, writer: Writer, request: CompletionRequest, who: Running | None = None
) -> tuple[str, Source]:
    who = who or running()
    async with typeahead.listen(request, who, writer.start) as pieces:
        text = "".join([piece.text async for piece in pieces])
    return text, who.source


async def test_typing_into_a_suggestion_is_answered_with_its_rest() -> None:
    writer = Writer()
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)
        assert await ask(typeahead, writer, ASKED) == ("range(10):", Source.ENGINE)
        assert await ask(typeahead, writer, at("for i in ra")) == ("nge(10):", Source.MEMORY)
        assert await ask(typeahead, writer, ASKED) == ("range(10):", Source.MEMORY)
        assert len(writer.started) == 1
        assert (await ask(typeahead, writer, at("for i in x")))[1] is Source.ENGINE
        assert (await ask(typeahead, writer, at("for i in range(10):")))[1] is Source.ENGINE


@given(st.text(alphabet="ab(\n é", max_size=12), st.lists(st.text(alphabet="ab(\n é", max_size=12)))
def test_every_text_from_memory_is_the_rest_of_an_answer(answer: str, typed: list[str]) -> None:
    async def scenario() -> None:
        writer = Writer(answer=answer)
        said: list[tuple[str, str]] = []
        async with anyio.create_task_group() as tasks:
            typeahead = memory(tasks)
            for text in ["", *typed]:
                prefix = ASKED.prefix + text
                before = len(writer.started)
                shown, source = await ask(typeahead, writer, at(prefix))
                if source is Source.ENGINE:
                    assert len(writer.started) == before + 1
                    said.append((prefix, shown))
                else:
                    assert len(writer.started) == before
                    assert any(
                        earlier + rest == prefix + shown and prefix.startswith(earlier)
                        for earlier, rest in said
                    )

    anyio.run(scenario)


@pytest.mark.parametrize(
    "changed",
    [
        {"suffix": ""},
        {"path": "a.py"},
        {"language": "go"},
        {"stop": ("\n",)},
        {"snippets": (Snippet("b.py", "x = 1"),)},
        {"user": "bob"},
        {"answer_ms": 5.0},
        {"sampling": SamplingParams(max_tokens=3)},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_anything_else_that_differs_is_another_question(changed: dict[str, Any]) -> None:
    writer = Writer()
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)
        await ask(typeahead, writer, ASKED)
        assert (await ask(typeahead, writer, at("for i in r", **changed)))[1] is Source.ENGINE


async def test_nobody_is_answered_with_what_another_was_told() -> None:
    writer = Writer()
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)
        await ask(typeahead, writer, ASKED, running(caller=Caller("k1", "ann")))
        for caller in (Caller("k1", "bob"), Caller("k2", "ann"), Caller()):
            source = (await ask(typeahead, writer, ASKED, running(caller=caller)))[1]
            assert source is Source.ENGINE
        same = running(caller=Caller("k1", "ann"))
        assert (await ask(typeahead, writer, ASKED, same))[1] is Source.MEMORY


async def test_what_asks_for_something_new_is_never_shared() -> None:
    assert reusable(ASKED, running())
    assert not reusable(replace(ASKED, suffix=None), running())
    assert not reusable(replace(ASKED, reuse=False), running())
    assert not reusable(replace(ASKED, sampling=SamplingParams(temperature=0.8)), running())
    assert not reusable(ASKED, running(wishes=Wishes(typeahead=False)))


async def test_equal_requests_join_one_generation_that_ends_with_the_last_listener() -> None:
    writer = Writer(open=False)
    first, second = running(), running()
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)
        scopes = [anyio.CancelScope(), anyio.CancelScope()]

        async def listen(who: Running, scope: anyio.CancelScope) -> None:
            with scope:
                await ask(typeahead, writer, ASKED, who)

        for who, scope in zip((first, second), scopes, strict=True):
            tasks.start_soon(listen, who, scope)
        await anyio.wait_all_tasks_blocked()
        assert writer.started == [ASKED.prefix]
        writer.step()
        await anyio.wait_all_tasks_blocked()
        scopes[0].cancel()
        await anyio.wait_all_tasks_blocked()
        assert writer.running == 1, "one is still listening"
        assert first.tokens == 0, "what the other still reads was not generated in vain"
        scopes[1].cancel()
        await anyio.wait_all_tasks_blocked()
        assert writer.running == 0
        assert second.tokens == 1
        assert len(typeahead) == 0, "half an answer is not remembered"


async def test_typing_into_a_running_answer_waits_for_it_and_takes_over() -> None:
    writer = Writer(open=False)
    older, newer = running(), running()
    newer._older = older
    told: list[tuple[str, Source]] = []
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)

        async def first() -> None:
            with older._scope:
                await ask(typeahead, writer, ASKED, older)

        async def second() -> None:
            told.append(await ask(typeahead, writer, at("for i in ra"), newer))

        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        writer.open = True
        writer.step()
    assert told == [("nge(10):", Source.JOINED)]
    assert older.reason is not None
    assert len(writer.started) == 1
    assert (older.tokens, newer.tokens) == (0, 10)


async def test_an_answer_that_turns_out_otherwise_is_asked_anew() -> None:
    writer = Writer(open=False)
    told: list[tuple[str, Source]] = []
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)

        async def one(prefix: str) -> None:
            told.append(await ask(typeahead, writer, at(prefix)))

        tasks.start_soon(one, ASKED.prefix)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(one, ASKED.prefix + "rx")
        await anyio.wait_all_tasks_blocked()
        assert len(writer.started) == 1
        writer.open = True
        writer.step()
    assert sorted(told) == [("range(10):", Source.ENGINE)] * 2
    assert len(writer.started) == 2


async def test_an_answer_that_says_nothing_for_long_is_not_waited_for() -> None:
    writer = Writer(open=False)
    older, newer = running(), running()
    newer._older = older
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)

        async def first() -> None:
            with older._scope:
                await ask(typeahead, writer, ASKED, older)

        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask, typeahead, writer, at("for i in r"), newer)
        await anyio.sleep(0.5)
        assert older.reason is not None, "the newer one has given up on it"
        assert writer.started == [ASKED.prefix, "for i in r"]
        assert writer.running == 1
        writer.open = True
        writer.step()


async def test_a_failure_is_raised_by_every_listener_and_not_remembered() -> None:
    writer = Writer(fails=True)
    failed: list[Exception] = []
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks)

        async def one() -> None:
            try:
                await ask(typeahead, writer, ASKED)
            except EngineFailed as error:
                failed.append(error)

        tasks.start_soon(one)
        tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        assert len(failed) == 2
        assert len(typeahead) == 0
        assert typeahead.size == 0
        writer.fails = False
        assert (await ask(typeahead, writer, ASKED))[1] is Source.ENGINE


async def test_answers_are_forgotten_in_time_and_when_they_take_too_much() -> None:
    writer = Writer()
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks, limits=TypeAheadLimits(ttl_s=0.05, size=1 << 20))
        await ask(typeahead, writer, ASKED)
        await anyio.sleep(0.06)
        assert (await ask(typeahead, writer, ASKED))[1] is Source.ENGINE
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks, limits=TypeAheadLimits(ttl_s=60, size=20_000))
        for number in range(50):
            await ask(typeahead, writer, at(f"{number}: " + "x" * 500))
        assert typeahead.size <= 20_000
        assert 1 <= len(typeahead) < 20
        last = at("49: " + "x" * 500)
        assert (await ask(typeahead, writer, last))[1] is Source.MEMORY, "the newest are kept"
    assert len(writer.started) == 52


async def test_what_follows_is_guessed_only_while_idle_and_makes_room() -> None:
    writer = Writer()
    unused: list[int] = []
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks, idle=lambda: True, on_unused=unused.append)
        await ask(typeahead, writer, ASKED)
        await anyio.wait_all_tasks_blocked()
        accepted = ASKED.prefix + writer.answer
        assert writer.started == [ASKED.prefix, accepted]
        assert await ask(typeahead, writer, at(accepted)) == (writer.answer, Source.MEMORY)
        writer.open = False
        tasks.start_soon(ask, typeahead, writer, at("while "))
        await anyio.wait_all_tasks_blocked()
        writer.open = True
        writer.step()
        await anyio.wait_all_tasks_blocked()
        assert writer.started[-1] == "while " + writer.answer
        assert unused == []


async def test_a_guess_that_nobody_wants_ends_when_somebody_comes() -> None:
    writer = Writer()
    unused: list[int] = []
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks, idle=lambda: True, on_unused=unused.append)
        async with typeahead.listen(ASKED, running(), writer.start) as pieces:
            async for piece in pieces:
                if piece.finish:
                    writer.open = False  # the guess will wait for its second character
                    break
        await anyio.wait_all_tasks_blocked()
        assert writer.running == 1
        writer.step()
        await anyio.wait_all_tasks_blocked()
        typeahead.make_room()
        await anyio.wait_all_tasks_blocked()
        assert writer.running == 0
        assert unused == [1]


async def test_no_guess_is_made_while_others_wait() -> None:
    writer = Writer()
    async with anyio.create_task_group() as tasks:
        typeahead = memory(tasks, idle=lambda: False)
        await ask(typeahead, writer, ASKED)
        await anyio.wait_all_tasks_blocked()
    assert writer.started == [ASKED.prefix]
