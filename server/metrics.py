"""What the gateway counts, in Prometheus form. What each means: `docs/operations.md`.

Label sets are closed: protocols, languages of the table, outcomes and reasons are ours, the variant
is the model's name; nothing of a request's text or name becomes a label. Each `Metrics` has its own
registry, so two gateways in one process do not mix.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from server.admission import Admission
from server.inflight import EndReason, Running, Source
from server.telemetry import REPORTED, EventKind
from server.typeahead import TypeAhead
from tabwright.engine import CompletionEngine
from tabwright.languages import OTHER_LANGUAGE

_REPORTERS = ("native", "tabby", "continue")
_OTHER = "other"
_UNUSED = "speculation"  # a reason of waste beside those of `EndReason`
# From a millisecond, a hit of type-ahead, to the default deadline; densest where typing feels it.
_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5),
    *(0.75, 1, 1.5, 2, 3, 5, 10, 30, 60),
)


class RequestOutcome(StrEnum):
    """How a request ended, by who must act."""

    OK = "ok"
    CALLER_ERROR = "caller_error"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    BROKEN = "broken"
    CANCELLED = "cancelled"


class Metrics:
    """Counters, histograms and gauges of one gateway."""

    def __init__(self, variant: str) -> None:
        """Start at zero; `variant` is the default model."""
        self.registry = CollectorRegistry()
        self._variant = variant
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        self._folder: Path | None = None
        count = partial(Counter, registry=self.registry)
        self._requests = count(
            "tabwright_requests",
            "Completion requests",
            ("protocol", "language", "variant", "outcome"),
        )
        self._cancels = count("tabwright_cancels", "Requests ended early", ("reason",))
        self._wasted = count(
            "tabwright_wasted_tokens",
            "Tokens generated for requests that were ended early",
            ("reason",),
        )
        self._generated = count("tabwright_generated_tokens", "Tokens generated")
        self._prompted = count("tabwright_prompt_tokens", "Tokens of all prompts")
        self._sources = count(
            "tabwright_suggestions", "Answers by where they came from", ("source",)
        )
        self._events = count("tabwright_editor_events", "Reports by editors", ("kind", "protocol"))
        self._unjoined = count(
            "tabwright_editor_events_unjoined",
            "Reports about suggestions that are not known here",
            ("protocol",),
        )
        self._fallbacks = count(
            "tabwright_flag_fallbacks",
            "Requests for which a flag gave what is not there, so that the default held",
            ("flag",),
        )
        self._dropped = count("tabwright_events_dropped", "Events there was no room for")
        time_of = partial(Histogram, registry=self.registry, buckets=_SECONDS)
        self._stages = time_of(
            "tabwright_stage_seconds", "Stages of a generation", ("protocol", "stage")
        )
        self._first_token = time_of(
            "tabwright_time_to_first_token_seconds",
            "From the parsed request to the first token",
            ("protocol",),
        )
        self._duration = time_of(
            "tabwright_request_seconds",
            "From the parsed request to the end of the answer",
            ("protocol",),
        )
        for reason in EndReason:
            self._cancels.labels(reason)
            self._wasted.labels(reason)
        self._wasted.labels(_UNUSED)
        for source in Source:
            self._sources.labels(source)
        for protocol in _REPORTERS:
            self._unjoined.labels(protocol)
            for kind in (*REPORTED, _OTHER):
                self._events.labels(kind, protocol)

    def finished(self, running: Running, outcome: RequestOutcome) -> None:
        """Count one request with its times."""
        protocol = running.protocol
        self.refused(protocol, outcome, running.language, running.model)
        self._generated.inc(running.tokens)
        if outcome is RequestOutcome.OK:
            self._sources.labels(running.source).inc()
        elapsed = time.perf_counter() - running.started_at
        self._duration.labels(protocol).observe(elapsed)
        if running.first_token_at is not None:
            first = running.first_token_at - running.started_at
            self._first_token.labels(protocol).observe(first)
        for timing in running.timings:
            self._prompted.inc(timing.prompt_tokens)
            for stage, seconds in timing.seconds().items():
                self._stages.labels(protocol, stage).observe(seconds)

    def refused(
        self,
        protocol: str,
        outcome: RequestOutcome,
        language: str = OTHER_LANGUAGE,
        model: str = "",
    ) -> None:
        """Count one request that never started."""
        self._requests.labels(protocol, language, model or self._variant, outcome).inc()

    def flag_fallback(self, flag: str) -> None:
        """Count one request for which a flag gave what this gateway does not have."""
        self._fallbacks.labels(flag).inc()

    def ended(self, reason: EndReason, wasted_tokens: int) -> None:
        """Count one request that was ended early."""
        self._cancels.labels(reason).inc()
        self._wasted.labels(reason).inc(wasted_tokens)

    def unused(self, tokens: int) -> None:
        """Count the tokens of a speculation that nobody used."""
        self._generated.inc(tokens)
        self._wasted.labels(_UNUSED).inc(tokens)

    def editor_event(self, kind: EventKind | None, protocol: str) -> None:
        """Count one report of an editor; None: about something that is no suggestion."""
        self._events.labels(kind or _OTHER, protocol).inc()

    def unjoined(self, protocol: str) -> None:
        """Count one report about a suggestion that is not known here."""
        self._unjoined.labels(protocol).inc()

    def event_dropped(self, number: int = 1) -> None:
        """Count events that there was no room for."""
        self._dropped.inc(number)

    def watch(
        self,
        engines: Sequence[CompletionEngine],
        admission: Admission,
        typeahead: TypeAhead | None,
    ) -> None:
        """Show what the engines and the waiting line hold at the moment of asking."""

        def held(name: str) -> float:
            return float(sum(getattr(engine.stats(), name) for engine in engines))

        self._gauge("admitted", "Completions that hold a slot", lambda: admission.running)
        self._gauge("in_line", "Completions that wait for a slot", lambda: admission.waiting)
        if typeahead is not None:
            self._gauge("typeahead_bytes", "Memory of suggestions", lambda: typeahead.size)
            self._gauge("typeahead_entries", "Suggestions kept", lambda: len(typeahead))
        for name, text in (
            ("running", "Requests the engine runs"),
            ("waiting", "Requests that wait inside the engine"),
            ("kv_blocks_used", "KV blocks held"),
            ("kv_blocks_total", "KV blocks there are"),
            ("restarts", "Times the engine's worker was started again"),
        ):
            self._gauge(f"engine_{name}", text, partial(held, name))

    def watch_flags(self, away: Callable[[], bool], known: Callable[[], int]) -> None:
        """Show whether the flags in force are those of their store."""
        self._gauge("flag_store_away", "1 while the store of flags does not answer", away)
        self._gauge("flags", "Flags in force", known)

    def exposition(self, names: Sequence[str] = ()) -> bytes:
        """Render everything, or what has one of these names, as Prometheus text."""
        if self._folder is not None:
            everything = CollectorRegistry()
            MultiProcessCollector(everything, path=str(self._folder))  # type: ignore[no-untyped-call]
            return generate_latest(everything)
        return generate_latest(self.registry.restricted_registry(names) if names else self.registry)

    def samples(self, names: Sequence[str]) -> Iterator[Sample]:
        """What has one of these names, of all processes."""
        if self._folder is None:
            families = self.registry.restricted_registry(names).collect()
        else:
            everything = CollectorRegistry()
            MultiProcessCollector(everything, path=str(self._folder))  # type: ignore[no-untyped-call]
            families = everything.collect()
        return (s for family in families for s in family.samples if s.name in names)

    @property
    def shared(self) -> bool:
        """Whether it answers for several processes, and has to read their files for that."""
        return self._folder is not None

    def share(self, folder: Path) -> None:
        """Answer for every worker process whose counters are in `folder`, where ours are too."""
        self._folder = folder

    def refresh(self) -> None:
        """Write down the gauges of this process where the others read them."""
        for gauge, read in self._gauges:
            gauge.set(read())

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        gauge = Gauge(
            f"tabwright_{name}", text, registry=self.registry, multiprocess_mode="livesum"
        )
        gauge.set_function(read)
        self._gauges.append((gauge, read))
