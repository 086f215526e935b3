"""The OpenAPI document of the gateway, made from the routes and their wire models.

What a body may be is told by the protocol's own model. What an error looks like differs by
protocol and is told in `docs/gateway.md`; here it is an object. Limits that settings give, and an
integer written as 1.0, which is refused, are not told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from server.caller import MAX_DELAY_MS, Lines
from server.gateway import IdeProtocol, Route
from server.postprocess import VERSIONS

Row = tuple[IdeProtocol, Route]

_OBJECT = {"type": "object"}
_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-Id": {"type": "string"},
    "X-Tabwright-Session": {"type": "string", "pattern": "^[!-~]{0,128}$"},
    "X-Tabwright-User": {"type": "string"},
    "X-Tabwright-Delay-Ms": {"type": "number", "minimum": 0, "maximum": MAX_DELAY_MS},
    "X-Tabwright-Min-Confidence": {"type": "number", "minimum": 0, "maximum": 1},
    "X-Tabwright-Lines": {"enum": [str(lines) for lines in Lines]},
    "X-Tabwright-Postprocess": {"enum": ["off", *VERSIONS]},
    "X-Tabwright-Typeahead": {"enum": ["on", "off"]},
}
_REF = "#/components/schemas/{model}"


def describe(
    title: str, version: str, paths: Mapping[tuple[str, str], Sequence[Row]], *, keyed: bool
) -> dict[str, Any]:
    """Describe every path; `keyed` says whether those that are not public ask for a key."""
    schemas: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for (method, path), rows in paths.items():
        routes = [route for _, route in rows]
        operation: dict[str, Any] = {"responses": _responses(rows)}
        parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)", path)]
        if models := [route.wire for route in routes if route.wire]:
            for model in models:
                schema = model.model_json_schema(ref_template=_REF)
                schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
            refs = [{"$ref": _REF.format(model=model.__name__)} for model in models]
            content = {"application/json": {"schema": {"anyOf": refs}}}
            operation["requestBody"] = {"required": True, "content": content}
            parameters += [_parameter(name, "header") for name in _HEADERS]
        if parameters:
            operation["parameters"] = parameters
        if keyed and not routes[-1].public:
            operation["security"] = [{"key": []}]
        plain = re.sub(r":\w+}", "}", path)
        described.setdefault(plain, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": described,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _responses(rows: Sequence[Row]) -> dict[str, Any]:
    answers: dict[str, Any] = {media: {} for _, route in rows for media in route.answers}
    errors = {"application/json": {"schema": _OBJECT}}  # of a method that the path has not
    errors |= {protocol.error_type: {"schema": _OBJECT} for protocol, _ in rows}
    return {
        str(rows[-1][1].success): {"description": "the answer", "content": answers},
        "4XX": {"description": "the caller can fix it, or try later", "content": errors},
        "5XX": {"description": "busy, unavailable, or a bug of ours", "content": errors},
    }


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema = _HEADERS.get(name, {"type": "string", "minLength": 1})
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
