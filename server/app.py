"""Wiring: one FastAPI application out of an engine and settings, and which error has which status.

    POST /v1/completions → read_call → claims → handler(call) → Answer | EventStream

`create_app` takes an engine that is up and leaves it so; who made it closes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from anyio.abc import TaskGroup
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from ab.errors import StaleRevision, UnknownFlag
from ab.spool import Spool
from server.admission import Admission
from server.caller import Caller
from server.completer import Completer
from server.console.console import UnknownPage
from server.door import Door, Forbidden, Unauthorized
from server.event_file import EventFile
from server.event_store import StoredEvents
from server.event_stream import JsonResponse, Problem, Reception, problem_response
from server.flag_watch import FlagWatch
from server.gateway import (
    BodyTooLarge,
    BodyTooSlow,
    Call,
    Gateway,
    IdeProtocol,
    headers_of,
    read_call,
)
from server.health import add_health
from server.inflight import EndReason, Inflight
from server.kept_flags import KeptFlags
from server.known_paths import Endpoint, KnownPaths
from server.live_settings import LiveSettings
from server.metrics import Metrics, RequestOutcome
from server.model_choice import ModelChoice, ServedModel, offers
from server.openapi_document import Row, describe
from server.prompt import ContextTooLong, PromptBuilder
from server.protocols import PROTOCOLS
from server.readiness import Readiness
from server.settings import ServerSettings
from server.suggestions import Suggestions
from server.telemetry import EventQueue, EventStore, Telemetry, Uncollected
from server.typeahead import TypeAhead, TypeAheadLimits
from server.visits import Visit, Visits, answered
from tabwright import __version__
from tabwright.engine import CompletionEngine
from tabwright.errors import (
    Broken,
    Busy,
    CallerError,
    DeadlineExceeded,
    InvalidRequest,
    RateLimited,
    TabwrightError,
    Unavailable,
    UnknownModel,
)

# First match counts: leaves that HTTP has an own status for, then the branches.
_STATUS: tuple[tuple[type[TabwrightError], int, RequestOutcome], ...] = (
    (Unauthorized, 401, RequestOutcome.CALLER_ERROR),
    (Forbidden, 403, RequestOutcome.CALLER_ERROR),
    (UnknownModel, 404, RequestOutcome.CALLER_ERROR),
    (UnknownPage, 404, RequestOutcome.CALLER_ERROR),
    (UnknownFlag, 404, RequestOutcome.CALLER_ERROR),
    (StaleRevision, 409, RequestOutcome.CALLER_ERROR),
    (BodyTooSlow, 408, RequestOutcome.CALLER_ERROR),
    (BodyTooLarge, 413, RequestOutcome.CALLER_ERROR),
    (CallerError, 400, RequestOutcome.CALLER_ERROR),
    (RateLimited, 429, RequestOutcome.BUSY),
    (Busy, 503, RequestOutcome.BUSY),
    (Unavailable, 503, RequestOutcome.UNAVAILABLE),
    (Broken, 500, RequestOutcome.BROKEN),
)
_CODES: dict[type[TabwrightError], str] = {
    Unauthorized: "invalid_api_key",
    UnknownModel: "model_not_found",
    ContextTooLong: "context_length_exceeded",
}
_CANCELLED_STATUS = 499  # understood by Continue and Copilot, retried by none


def create_app(
    engine: CompletionEngine,
    settings: ServerSettings,
    tasks: TaskGroup,
    on_visit: Callable[[Visit], None] | None = None,
    others: Mapping[str, CompletionEngine] | None = None,
) -> FastAPI:
    """Build the gateway around `engine`; its parts are on `app.state.gateway`.

    `others` are the engines of further models, by the names that flags give them. Answers that
    several requests may share are generated in `tasks`, to be cancelled at the end; the keys file
    and the flags are watched there too. `on_visit` is told of every request when it is over.

    Raises:
        ConfigError: the keys file or the store cannot be used.
    """
    live = LiveSettings(settings)
    door = Door(live)
    tasks.start_soon(door.watch)
    metrics = Metrics(engine.artifact.name)
    inflight = Inflight(metrics.ended)
    admission = Admission(settings.max_running, settings.max_waiting, settings.rate())
    live.follow(lambda settings: _limit(admission, settings))
    engines = {engine.artifact.name: engine, **(others or {})}
    flags = _flags(settings, list(engines))
    tasks.start_soon(flags.follow)
    models = _models(engines, flags, live, metrics)
    suggestions = Suggestions(_telemetry(settings, tasks), metrics, engine.artifact.name)
    typeahead = _typeahead(live, tasks, admission, metrics)
    gateway = Gateway(
        live=live,
        artifact=engine.artifact,
        max_context=engine.max_context,
        completer=Completer(models, admission, typeahead),
        flags=flags,
        reception=Reception(inflight, metrics, suggestions, problem_of, live),
        readiness=Readiness(engines, inflight),
    )
    metrics.watch(list(engines.values()), admission, typeahead)
    metrics.watch_flags(lambda: flags.away, lambda: len(flags.versions))
    app = _bare_app()
    app.state.gateway = gateway
    add_health(app, gateway.readiness, flags, metrics)
    protocols = [_load(target)(gateway) for target in PROTOCOLS.values()]
    paths = _by_path(protocols)
    _add_routes(app, {place: _endpoint(gateway, door, rows) for place, rows in paths.items()})
    document = describe(app.title, app.version, paths, keyed=settings.closed)
    app.openapi = lambda: document  # type: ignore[method-assign]
    if settings.cors_origins:
        _let_pages_in(app, settings.cors_origins)
    templates = {
        route.endpoint: route.path for route in app.routes if isinstance(route, StarletteRoute)
    }
    by_path = {path: rows[-1][0] for (_, path), rows in paths.items()}
    spoken = {end: by_path[path] for end, path in templates.items() if path in by_path}
    _speak_where_no_route_does(app, spoken, protocols[-1])
    app.add_middleware(Visits, templates=templates, on_end=on_visit)
    return app


def _bare_app() -> FastAPI:
    return FastAPI(
        title="Tabwright",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        # Ours are `server.tracing` and `server.metrics`, which tell nothing of a request's text.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )


def _let_pages_in(app: FastAPI, origins: Sequence[str]) -> None:
    """Answer the questions that browsers ask before and after a page of these origins calls."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=[
            *("x-request-id", "retry-after", "retry-after-ms", "etag"),
            *("x-tabwright-model", "x-tabwright-variants"),
        ],
    )


def _limit(admission: Admission, settings: ServerSettings) -> None:
    admission.max_waiting = settings.max_waiting
    admission.rate = settings.rate()


def _flags(settings: ServerSettings, models: Sequence[str]) -> FlagWatch:
    if settings.store is None:
        return FlagWatch()
    kept = KeptFlags(settings.spool_dir, settings.store)
    return FlagWatch(settings.store, offers(models), kept)


def _models(
    engines: Mapping[str, CompletionEngine],
    flags: FlagWatch,
    live: LiveSettings,
    metrics: Metrics,
) -> ModelChoice:
    share = live.now.snippet_share
    served = [
        ServedModel(name, engine, PromptBuilder(engine.artifact, engine.max_context, share))
        for name, engine in engines.items()
    ]
    return ModelChoice(served, flags, lambda caller: live.now.cohort(caller), metrics.flag_fallback)


def _typeahead(
    live: LiveSettings, tasks: TaskGroup, admission: Admission, metrics: Metrics
) -> TypeAhead:
    def limits(settings: ServerSettings) -> TypeAheadLimits:
        return TypeAheadLimits(settings.typeahead_ttl_s, settings.typeahead_mb << 20)

    typeahead = TypeAhead(tasks, limits(live.now), lambda: admission.idle, metrics.unused)
    live.follow(lambda settings: typeahead.resize(limits(settings)))
    return typeahead


def _telemetry(settings: ServerSettings, tasks: TaskGroup) -> Telemetry:
    store: EventStore
    if settings.store is not None:
        spool = Spool(settings.spool_dir, settings.spool_mb << 20)
        store = stored = StoredEvents(settings.store, spool)
        tasks.start_soon(stored.follow)
    elif settings.events_file is not None:
        store = EventFile(settings.events_file, settings.events_file_mb << 20)
    else:
        return Uncollected()
    queue = EventQueue()
    tasks.start_soon(queue.drain, store)
    return queue


def problem_of(fault: TabwrightError | EndReason | None) -> Problem:
    """Map an error, the reason of an early end, or None (a bug) to what HTTP says about it."""
    if isinstance(fault, EndReason):
        if fault is EndReason.DEADLINE:
            late = problem_of(DeadlineExceeded("the request took too long; ask for less"))
            return _cancelled(late.status, late.code, late.message, late.retry_after_s)
        if fault is EndReason.SHUTDOWN:
            return _cancelled(503, "shutting_down", "the gateway is shutting down", 1.0)
        return _cancelled(_CANCELLED_STATUS, fault.value, f"the request was ended: {fault.value}")
    if fault is None:
        return Problem(500, "internal_error", "the gateway made an error", RequestOutcome.BROKEN)
    status, outcome = next((s, o) for kind, s, o in _STATUS if isinstance(fault, kind))
    return Problem(
        status,
        _CODES.get(type(fault)) or re.sub(r"(?<!^)(?=[A-Z])", "_", type(fault).__name__).lower(),
        str(fault),
        outcome,
        param=fault.field if isinstance(fault, InvalidRequest) else None,
        retry_after_s=fault.retry_after_s if isinstance(fault, Busy) else None,
    )


def _cancelled(status: int, code: str, message: str, retry_after_s: float | None = None) -> Problem:
    return Problem(status, code, message, RequestOutcome.CANCELLED, retry_after_s=retry_after_s)


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _by_path(protocols: Iterable[IdeProtocol]) -> dict[tuple[str, str], list[Row]]:
    paths: dict[tuple[str, str], list[Row]] = {}
    for protocol in protocols:
        for route in protocol.routes():
            paths.setdefault((route.method, route.path), []).append((protocol, route))
    return paths


def _add_routes(app: FastAPI, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
    for (method, path), endpoint in endpoints.items():
        # A plain route: FastAPI's own would copy and serialise what already is a response.
        app.add_route(path, endpoint, methods=[method])  # type: ignore[arg-type]
    known = {place: endpoint for place, endpoint in endpoints.items() if "{" not in place[1]}
    app.add_middleware(KnownPaths, endpoints=known)


def _endpoint(gateway: Gateway, door: Door, rows: Sequence[Row]) -> Endpoint:
    """Serve one path; the last of `rows` speaks for a call that no protocol has claimed yet."""

    assert len({route.scope for _, route in rows}) == 1, "the body, which tells whose, comes later"

    async def endpoint(request: Request) -> ASGIApp:
        protocol, route = rows[-1]
        try:
            caller = Caller(scopes=frozenset())
            headers = headers_of(request)
            if not route.public:
                address = request.client.host if request.client else ""
                caller = door.caller(headers, address, route.scope)
            call = await read_call(request, headers, gateway.settings, caller)
            protocol, route = _claimant(rows, call)
            return await route.handler(call)
        except TabwrightError as error:
            problem = problem_of(error)
            gateway.reception.metrics.refused(protocol.name, problem.outcome)
            answered(protocol.name, problem.outcome)
            return problem_response(protocol, problem)
        except ClientDisconnect:
            return Response(status_code=_CANCELLED_STATUS)  # nobody reads it

    return endpoint


def _claimant(rows: Sequence[Row], call: Call) -> Row:
    for row in rows:
        claims = row[1].claims
        if claims is None or claims(call.body):
            return row
    return rows[-1]


def _speak_where_no_route_does(
    app: FastAPI, spoken: Mapping[Any, IdeProtocol], stranger: IdeProtocol
) -> None:
    """Answer wrong methods and our own bugs in the dialect of the path, unknown paths in one.

    spoken: the protocol of each endpoint.
    """

    def dialect(request: Request) -> IdeProtocol:
        return spoken.get(request.scope.get("endpoint"), stranger)

    async def answer(request: Request, error: Exception) -> JsonResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        problem = Problem(error.status_code, code, error.detail, RequestOutcome.CALLER_ERROR)
        response = problem_response(dialect(request), problem)
        if error.status_code == 405:
            response.headers["allow"] = ", ".join(_methods(app, request.url.path))
        return response

    async def broken(request: Request, error: Exception) -> JsonResponse:
        del error  # starlette logs it
        return problem_response(dialect(request), problem_of(None))

    app.add_exception_handler(HTTPException, answer)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, broken)  # type: ignore[arg-type]


def _methods(app: FastAPI, path: str) -> list[str]:
    """All methods of a path; starlette's own answer knows those of one route only."""
    routes = [route for route in app.routes if isinstance(route, StarletteRoute)]
    found = (route.methods or () for route in routes if route.path_regex.match(path))
    return sorted({method for methods in found for method in methods})
