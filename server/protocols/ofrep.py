"""OpenFeature's remote evaluation (OFREP 0.3): any OpenFeature SDK evaluates our flags here.

    POST /ofrep/v1/evaluate/flags/{key}   one flag
    POST /ofrep/v1/evaluate/flags         all of them, with an ETag

The ETag is made of the answer, so it is another one for another user: clients send the last one
they had, whoever is logged in by then. Answered from memory. Read `Ofrep.one` first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.types import ASGIApp, Receive, Scope, Send

from ab.assignment import assign
from ab.store import Version
from server.event_stream import JSON, JsonResponse, Problem
from server.gateway import Call, Gateway, Route, read_wire
from tabwright.errors import InvalidRequest

_PATH = "/ofrep/v1/evaluate/flags"


class EvaluationBody(BaseModel):
    """Who asks, and what rules may see of them."""

    model_config = ConfigDict(extra="ignore")

    context: dict[str, Any] | None = None


class Ofrep:
    """Serves the protocol."""

    name = "ofrep"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route("POST", _PATH, self.all, wire=EvaluationBody),
            Route("POST", _PATH + "/{key}", self.one, wire=EvaluationBody),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """What SDKs insist on, whatever went wrong."""
        code = "PARSE_ERROR" if problem.status == 400 else "GENERAL"
        return _fault("", code, problem.message)

    async def one(self, call: Call) -> JsonResponse:
        """Evaluate one flag."""
        key = call.path_params["key"]
        try:
            context = _context(call)
        except InvalidRequest as error:
            return JsonResponse(_fault(key, "INVALID_CONTEXT", str(error)), 400)
        version = self._gateway.flags.versions.get(key)
        if version is None:
            known = ", ".join(self._gateway.flags.versions) or "none"
            told = f"no flag {key[:80]!r}; there are: {known}"
            return JsonResponse(_fault(key, "FLAG_NOT_FOUND", told), 404)
        return JsonResponse(_evaluated(version, context))

    async def all(self, call: Call) -> ASGIApp:
        """Evaluate all flags; say only that nothing has changed where nothing has."""
        try:
            context = _context(call)
        except InvalidRequest as error:
            return JsonResponse(_fault("", "INVALID_CONTEXT", str(error)), 400)
        versions = self._gateway.flags.versions.values()
        answer = JsonResponse({"flags": [_evaluated(version, context) for version in versions]})
        etag = f'"{hashlib.blake2b(answer.body, digest_size=16).hexdigest()}"'
        given = call.headers.get("if-none-match", "")
        if etag in [one.strip().removeprefix("W/") for one in given.split(",")]:
            return _NotModified(etag)
        answer.headers["etag"] = etag
        return answer


def _context(call: Call) -> Mapping[str, Any]:
    context = read_wire(EvaluationBody, call.body).context or {}
    user = context.get("targetingKey", "")
    if not isinstance(user, str):
        raise InvalidRequest("context.targetingKey", user, "give the user as text, or leave it out")
    return context


def _evaluated(version: Version, context: Mapping[str, Any]) -> Mapping[str, Any]:
    flag = version.flag
    assignment = assign(flag, context)
    value = assignment.value
    if any(isinstance(other, float) for other in flag.variants.values()):
        assert isinstance(value, int | float)
        value = float(value)  # SDKs refuse 1 where another variant is 1.5
    return {
        "key": flag.key,
        "value": value,
        "reason": assignment.reason,
        "variant": assignment.variant,
        "metadata": {"revision": version.revision},
    }


def _fault(key: str, code: str, details: str) -> Mapping[str, Any]:
    return {"key": key, "errorCode": code, "errorDetails": details}


class _NotModified:
    """304, which has no body."""

    def __init__(self, etag: str) -> None:
        self._etag = etag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        headers = [(b"etag", self._etag.encode())]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
