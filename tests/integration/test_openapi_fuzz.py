"""The OpenAPI document tells the truth, and nothing that it allows or forbids breaks the gateway.

Requests are made from the document by schemathesis, right ones and wrong ones, and sent to a live
gateway. Seeds are fixed, so a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SILENCE_S = 15.0


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": "x = 1\n"}, deadline_s=5) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def document(live: LiveGateway) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{live.url}/openapi.json")


def fuzz(live: LiveGateway, document: BaseSchema, examples: int) -> set[str]:
    """Send `examples` requests to every operation; return the operations."""
    seen = set()
    for result in document.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        seen.add(operation.label)
        for mode in GenerationMode:
            if mode is GenerationMode.NEGATIVE and not operation.body:
                continue  # there is nothing that could be wrong

            @seeded(7)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case[Any]) -> None:
                answer = case.call_and_validate(checks=CHECKS, timeout=SILENCE_S)
                # 503 is an answer: a request may wish for a deadline that nobody can keep.
                assert answer.status_code < 500 or answer.status_code == 503, answer.text

            ask()
        live.wait_free()
    return seen


def test_no_request_that_the_document_suggests_breaks_the_gateway(
    live: LiveGateway, document: BaseSchema
) -> None:
    seen = fuzz(live, document, 6)
    assert "POST /v1/completions" in seen
    assert len(seen) > 15


@pytest.mark.slow
def test_nor_do_many_more(live: LiveGateway, document: BaseSchema) -> None:
    fuzz(live, document, 150)


def test_methods_that_a_path_has_not_are_refused(live: LiveGateway) -> None:
    paths = httpx.get(f"{live.url}/openapi.json").json()["paths"]
    for path, operations in paths.items():
        answer = httpx.request("PATCH", live.url + path.replace("{", "").replace("}", ""))
        assert answer.status_code == 405, path
        assert {m.lower() for m in answer.headers["allow"].split(", ")} >= set(operations)


def test_the_document_says_where_a_key_is_wanted(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, api_key="k") as live:
        paths = httpx.get(f"{live.url}/openapi.json").json()["paths"]
        for path, operations in paths.items():
            for method, operation in operations.items():
                url = live.url + path.replace("{", "").replace("}", "")
                refused = httpx.request(method, url).status_code == 401
                assert refused == ("security" in operation), (method, path)


def test_no_two_models_share_a_name_in_the_document() -> None:
    """The document has one schema a name, so a second of the same name would hide the first."""
    from importlib import import_module

    from pydantic import BaseModel

    from server.protocols import PROTOCOLS

    modules = [import_module(target.partition(":")[0]) for target in PROTOCOLS.values()]
    names = [
        name
        for module in modules
        for name, thing in vars(module).items()
        if isinstance(thing, type)
        and issubclass(thing, BaseModel)
        and thing.__module__ == module.__name__
    ]
    assert len(names) == len(set(names)), names
