"""What every protocol is handed: the parts of the gateway, and one parsed call.

Protocol files see no web framework: a handler takes a `Call` and returns what answers it. Bodies
are read and parsed here, bounded in size and time, so that whatever was sent becomes an error of
our own tree. Which protocol gets a call is decided in `server.app`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp

from server.caller import Caller, KeyScope, Wishes, read_wishes
from server.completer import Completer
from server.event_stream import Dialect, Reception
from server.flag_watch import FlagWatch
from server.inflight import Running
from server.live_settings import LiveSettings
from server.readiness import Readiness
from server.settings import ServerSettings
from tabwright.artifact import ModelArtifact
from tabwright.errors import CallerError, InvalidRequest, UnknownModel

JSON_OR_EVENTS = ("application/json", "text/event-stream")  # by whether a stream is asked for
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SESSION = re.compile(r"[\x21-\x7e]{1,128}")
_READ_ON = 8  # times the limit: a body is read to its end that far, so that the client sees the 413

Model = TypeVar("Model", bound=BaseModel)


class BodyTooLarge(CallerError):
    """The request's body is larger than the gateway takes."""


class BodyTooSlow(CallerError):
    """The request's body did not arrive in time."""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, read whole."""

    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str]
    path_params: Mapping[str, str]
    caller: Caller = field(default_factory=Caller)


Handler = Callable[[Call], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path of a protocol.

    claims: for a path that two protocols share, whether a body is this one's; None claims all.
    wire: the model of the body, for the OpenAPI document. public: asks for no key, as its clients
    send none; nothing of a request or a setting may be in its answer. scope: what a key must be
    good for. answers, success: the media types and the status of what it answers, errors aside.
    """

    method: str
    path: str
    handler: Handler
    claims: Callable[[Mapping[str, Any]], bool] | None = None
    wire: type[BaseModel] | None = None
    public: bool = False
    scope: KeyScope = KeyScope.COMPLETE
    answers: tuple[str, ...] = ("application/json",)
    success: int = 200


class IdeProtocol(Dialect, Protocol):
    """One protocol that editors speak."""

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that protocols work with. artifact, max_context: of the default model."""

    live: LiveSettings
    artifact: ModelArtifact
    max_context: int
    completer: Completer
    flags: FlagWatch
    reception: Reception
    readiness: Readiness

    @property
    def settings(self) -> ServerSettings:
        """The settings that hold now."""
        return self.live.now

    def check_model(self, name: str | None) -> None:
        """Accept a loaded model's name, or none (some clients send the empty string).

        Raises:
            UnknownModel: another name.
        """
        models = self.completer.models.models
        if name and name not in models:
            shown = name if len(name) <= 80 else name[:77] + "..."
            served = ", ".join(map(repr, models))
            raise UnknownModel(f"the model {shown!r} does not exist; this gateway serves {served}")

    def open(
        self, protocol: str, prefix: str, call: Call, *, session: str = "", request_id: str = ""
    ) -> Running:
        """Give a call its identity; a session counts only if our header or our protocol names it.

        session, request_id: from the body, where a protocol has them; the headers come second.
        """
        alias = request_id or call.headers.get("x-request-id", "")
        session = session or call.headers.get("x-tabwright-session", "")
        if session and not _SESSION.fullmatch(session):
            raise InvalidRequest(
                "X-Tabwright-Session", session, "give up to 128 printable ASCII characters"
            )
        return Running(
            request_id=prefix + secrets.token_hex(16),
            alias=alias if _REQUEST_ID.fullmatch(alias) else None,
            protocol=protocol,
            session=session or None,
            deadline_s=self.settings.deadline_s,
            caller=call.caller,
            wishes=read_wishes(call.headers, self._default_wishes(call.caller)),
        )

    def _default_wishes(self, caller: Caller) -> Wishes:
        settings = self.settings
        return Wishes(
            caller.eagerness or settings.eagerness(),
            settings.postprocess,
            speculate=settings.speculate,
        )


def headers_of(request: Request) -> dict[str, str]:
    """The headers by their names in lower case; of one that comes twice the first counts."""
    raw = reversed(request.scope["headers"])
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}


async def read_call(
    request: Request, headers: Mapping[str, str], settings: ServerSettings, caller: Caller
) -> Call:
    """Read one request whole.

    Raises:
        BodyTooLarge, BodyTooSlow, InvalidRequest: it cannot be served.
        ClientDisconnect: nobody waits for an answer any more.
    """
    raw = b"" if request.method == "GET" else await _read_body(request, headers, settings)
    body = parse_object(raw) if raw else {}
    query = request.query_params if request.scope["query_string"] else {}
    return Call(body, headers, query, request.path_params, caller)


def parse_object(raw: bytes) -> Mapping[str, Any]:
    """Parse a JSON object strictly: UTF-8, no lone surrogates, no NaN.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        body = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest("body", "...", f"send one JSON object in UTF-8: {error}") from None
    if not isinstance(body, dict):
        raise InvalidRequest("body", type(body).__name__, "send one JSON object")
    return body


def read_wire(model: type[Model], body: Mapping[str, Any]) -> Model:
    """Check a body against a protocol's wire model.

    Raises:
        InvalidRequest: naming the first field that is wrong.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        # The place names the branches of unions too, which mean nothing to a client.
        place = [str(p) for p in first["loc"] if isinstance(p, int) or not _is_branch(p)]
        name = ".".join(place) or "body"
        raise InvalidRequest(name, first.get("input"), first["msg"]) from None


def _is_branch(name: str) -> bool:
    return "[" in name or name in ("str", "int", "float", "bool")


async def _read_body(
    request: Request, headers: Mapping[str, str], settings: ServerSettings
) -> bytes:
    limit = settings.max_body_bytes
    too_large = BodyTooLarge(f"the body is larger than {limit} bytes; send less context")
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit * _READ_ON:
        raise too_large
    body = bytearray()
    size = 0
    with anyio.move_on_after(settings.body_timeout_s) as scope:
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size <= limit:
                body += chunk
            elif size > limit * _READ_ON:
                raise too_large
    if scope.cancelled_caught:
        raise BodyTooSlow(f"the body did not arrive within {settings.body_timeout_s:g} s")
    if size > limit:
        raise too_large
    return bytes(body)
