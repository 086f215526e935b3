"""One OpenTelemetry span a request, with a child for each stage of its generations.

Spans are made of what a `Visit` has noted once the request is over, so nothing is paid on the way,
and nothing at all when no collector is set. A caller's `traceparent` is continued. Attributes are
those of the access line: no text, path, query or key. Sampling, headers for the collector and the
service's name are the SDK's own variables (`OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`,
`OTEL_SERVICE_NAME`). Read `tracing` first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from server.timing import Stage, Timing
from server.visits import Visit
from tabwright import __version__
from tabwright.errors import MissingExtra

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

_EXPORT_S = 5.0
_PATH = "/v1/traces"


@contextmanager
def tracing(endpoint: str | None) -> Iterator[Callable[[Visit], None] | None]:
    """Give what is told of every visit, None without a collector; send what is left at the end.

    Raises:
        MissingExtra: the OpenTelemetry packages are not installed.
    """
    if endpoint is None:
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise MissingExtra("opentelemetry", "otel") from error
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "tabwright"}
    provider = TracerProvider(
        resource=Resource.create({**named, "service.version": __version__}),
        shutdown_on_exit=False,
    )
    whole = endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + _PATH
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(whole, timeout=_EXPORT_S)))
    try:
        yield _Teller(provider.get_tracer("tabwright", __version__)).tell
    finally:
        provider.shutdown()


class _Teller:
    """Makes spans of visits."""

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def tell(self, visit: Visit) -> None:
        """Record one visit; probes are none."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        if visit.probe:
            return
        offset = time.time() - time.perf_counter()
        attributes = _attributes(visit)
        span = self._tracer.start_span(
            f"{visit.method} {visit.route}",
            context=self._parent(visit),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=_ns(visit.started_at + offset),
        )
        if visit.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        if span.is_recording() and visit.running is not None:
            inside = set_span_in_context(span)
            for timing in visit.running.timings:
                self._stages(timing, inside, offset)
        span.end(_ns(visit.ended_at + offset))

    def _stages(self, timing: Timing, inside: Context, offset: float) -> None:
        more: Mapping[Stage, Mapping[str, float]] = {
            Stage.PROMPT: {"tabwright.prompt_tokens": timing.prompt_tokens},
            Stage.DECODE: {"tabwright.postprocess_ms": round(timing.postprocess_s * 1000, 3)},
        }
        for stage, (start, end) in timing.spans.items():
            child = self._tracer.start_span(
                stage.value,
                context=inside,
                attributes=dict(more.get(stage, {})),
                start_time=_ns(start + offset),
            )
            child.end(_ns(end + offset))

    def _parent(self, visit: Visit) -> Context:
        wanted = (b"traceparent", b"tracestate")
        found = {k.decode(): v.decode("latin-1") for k, v in visit.headers if k in wanted}
        return self._propagator.extract(found)


def _attributes(visit: Visit) -> dict[str, str | int]:
    names = {
        "method": "http.request.method",
        "route": "http.route",
        "status": "http.response.status_code",
    }
    return {names.get(key, f"tabwright.{key}"): value for key, value in visit.facts().items()}


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
