"""Finished and running suggestions that a developer may be typing into.

    earlier:  prefix P             answer A
    now:      prefix P + start of A          → the rest of A, without the engine

A request finds an answer only of its own caller, with everything but the prefix equal: suffix,
path, snippets, stop strings, sampling, wishes. So an identical request joins what is running, and
typing along a suggestion costs nothing. Whether a running answer will agree may not be known yet; a
request waits a moment for it and then asks for itself. Answers are forgotten after a while, and the
oldest ones when they take too much memory.

Requests that sample at more than `_WARM` are never answered so, because they ask for something new.
After an answer that nobody is waiting behind, the next one may be generated as if it had been
accepted; it makes room for whoever comes. Read `TypeAhead.listen` first.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice

import anyio
from anyio.abc import TaskGroup

from server.generation import Generation, Pieces
from server.inflight import Running, Source
from server.radix import RadixTree
from tabwright.request import CompletionRequest, Suggestion

_WARM = 0.2  # editors that want one good answer ask for 0 to 0.2
_PATIENCE_S = 0.15  # to learn whether a running answer agrees; a wrong guess costs no more
_ENTRY_BYTES = 2000  # about what the objects of one entry take besides text
_CHAR_BYTES = 2  # Latin text takes one byte a character, other text two or four
_SWEEP = 16  # expired answers that one request clears away

Start = Callable[[CompletionRequest, Generation], Pieces]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    context: bytes
    prefix: str
    generation: Generation
    born_at: float
    speculate: bool


@dataclass(frozen=True, slots=True)
class TypeAheadLimits:
    """How long answers are remembered, in seconds, and the size in bytes they may have."""

    ttl_s: float = 300.0
    size: int = 64 << 20


class TypeAhead:
    """Suggestions by caller, context and prefix."""

    def __init__(
        self,
        tasks: TaskGroup,
        limits: TypeAheadLimits,
        idle: Callable[[], bool] | None = None,
        on_unused: Callable[[int], None] | None = None,
    ) -> None:
        """Run generations in `tasks`.

        idle: says whether the engine has time to speculate; None: never. on_unused: is told the
        tokens of a speculation that nobody used.
        """
        self._tasks = tasks
        self._limits = limits
        self._idle = idle
        self._on_unused = on_unused
        self._trees: dict[bytes, RadixTree[_Entry]] = {}
        self._entries: dict[_Entry, None] = {}  # oldest first
        self._chars = 0
        self._guess: _Entry | None = None

    def __len__(self) -> int:
        """Count the answers."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """About the bytes they take."""
        return self._chars * _CHAR_BYTES + len(self._entries) * _ENTRY_BYTES

    @asynccontextmanager
    async def listen(
        self, request: CompletionRequest, running: Running, start: Start
    ) -> AsyncIterator[AsyncIterator[Suggestion]]:
        """Answer from memory, from a running answer, or start one; iterate inside the block."""
        context = _digest(request, running)
        self._expire()
        for typed, entry in self._candidates(context, request.prefix):
            source = Source.MEMORY if entry.generation.whole else Source.JOINED
            with entry.generation.listener(running):
                covered = False
                with anyio.move_on_after(_PATIENCE_S):
                    covered = await entry.generation.covers(
                        request.prefix[len(request.prefix) - typed :]
                    )
                if covered:
                    running.source = source
                    running.supersede()
                    if entry is self._guess:
                        self._guess = None
                    async with aclosing(entry.generation.pieces(running, typed)) as pieces:
                        yield pieces
                    return
        self.make_room()
        entry = self._start(context, request, start, speculate=running.wishes.speculate)
        entry.generation.timings = running.timings  # whoever starts it shows where the time went
        with entry.generation.listener(running):
            running.supersede()
            async with aclosing(entry.generation.pieces(running, 0)) as pieces:
                yield pieces

    def remembers(self, request: CompletionRequest, running: Running) -> bool:
        """Tell whether `listen` would answer from memory, at once."""
        prefix = request.prefix
        return any(
            entry.generation.answers(prefix[len(prefix) - typed :])
            for typed, entry in self._candidates(_digest(request, running), prefix)
        )

    @property
    def on(self) -> bool:
        """Whether anything may be remembered."""
        return self._limits.size > 0

    def resize(self, limits: TypeAheadLimits) -> None:
        """Keep to other limits from now on; what is too much is forgotten."""
        self._limits = limits
        self._shrink()

    def make_room(self) -> None:
        """End a speculation that nobody has joined: somebody wants the engine."""
        if self._guess is not None:
            self._guess.generation.stop()
            self._guess = None

    def _candidates(self, context: bytes, prefix: str) -> list[tuple[int, _Entry]]:
        """Entries that `prefix` may be typing into, with the number of characters typed; the
        longest prefix first, because its answer knew most."""
        tree = self._trees.get(context)
        found = tree.prefixes(prefix) if tree else ()
        return [(len(prefix) - length, entry) for length, entry in found][::-1]

    def _start(
        self,
        context: bytes,
        request: CompletionRequest,
        start: Start,
        *,
        speculate: bool,
    ) -> _Entry:
        entry = _Entry(context, request.prefix, Generation(), time.monotonic(), speculate)
        for typed, older in self._candidates(context, request.prefix):
            if not typed:
                self._forget(older)
        tree = self._trees.setdefault(context, RadixTree())
        self._chars -= tree.chars
        tree.set(entry.prefix, entry)
        self._chars += tree.chars
        self._entries[entry] = None
        self._tasks.start_soon(self._run, entry, request, start)
        return entry

    async def _run(self, entry: _Entry, request: CompletionRequest, start: Start) -> None:
        generation = entry.generation
        try:
            await generation.run(lambda meter: start(request, meter))
        finally:
            if entry is self._guess:
                self._guess = None
            if entry in self._entries:
                if generation.whole:
                    self._chars += len(generation.text)
                    self._shrink()
                else:
                    self._forget(entry)
        if generation.whole and entry.speculate and generation.text.strip():
            self._speculate(entry, request, start)

    def _speculate(self, entry: _Entry, request: CompletionRequest, start: Start) -> None:
        """Generate what follows if the suggestion is accepted, while nobody wants the engine."""
        if self._idle is None or not self._idle() or self._guess is not None:
            return
        accepted = replace(request, prefix=request.prefix + entry.generation.text)
        known = [typed for typed, _ in self._candidates(entry.context, accepted.prefix)]
        if 0 not in known:
            self._guess = self._start(entry.context, accepted, start, speculate=False)

    def _expire(self) -> None:
        born_after = time.monotonic() - self._limits.ttl_s
        for entry in list(islice(self._entries, _SWEEP)):
            if entry.born_at >= born_after:
                return
            if entry.generation.ended:
                self._forget(entry)

    def _shrink(self) -> None:
        for entry in list(self._entries):
            if self.size <= self._limits.size:
                return
            if entry.generation.ended:
                self._forget(entry)

    def _forget(self, entry: _Entry) -> None:
        generation, tree = entry.generation, self._trees[entry.context]
        del self._entries[entry]
        if generation.whole:
            self._chars -= len(generation.text)
        self._chars -= tree.chars
        tree.remove(entry.prefix)
        self._chars += tree.chars
        if not tree:
            del self._trees[entry.context]
        if self._on_unused and generation.tokens and not generation.listened:
            self._on_unused(generation.tokens)


def reusable(request: CompletionRequest, running: Running) -> bool:
    """Tell whether a request may be answered with, and remembered for, an answer to another."""
    return (
        request.reuse
        and running.wishes.typeahead
        and request.suffix is not None
        and request.sampling.temperature <= _WARM
    )


def _digest(request: CompletionRequest, running: Running) -> bytes:
    """Identify everything about a request but its prefix, and whose it is."""
    digest = hashlib.blake2b(digest_size=16)
    small = replace(request, prefix="", suffix=None, snippets=(), session=None, deadline_s=None)
    # Editors rank their snippets anew at each keystroke; which they are counts, not their order.
    snippets = sorted((s.path, s.text) for s in request.snippets)
    texts = [request.suffix or "", *(text for snippet in snippets for text in snippet)]
    about = repr((running.caller.share, running.model, running.wishes, small))
    for part in (about, *texts):
        raw = part.encode(errors="surrogatepass")
        digest.update(len(raw).to_bytes(8) + raw)
    return digest.digest()
