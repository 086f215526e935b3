"""The gateways that the contract of protocols is asked of: one that answers, others that cannot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tabwright.artifact import ModelArtifact
from tests.contracts.protocol_entries import ANSWER
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.tiny_artifact import make_tiny_artifact

SLOW = {"answer": "x\n" * 400, "token_delay_s": 0.05}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": ANSWER}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def slow(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options=SLOW, max_running=1, max_waiting=0, drain_s=0.1) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def failing(tiny: ModelArtifact) -> Iterator[tuple[LiveGateway, LiveGateway]]:
    """Engines that fail before and after their first token."""
    with (
        live_gateway(tiny, options={"fail_after": 0}) as at_once,
        live_gateway(tiny, options={"fail_after": 3}) as later,
    ):
        yield at_once, later


@pytest.fixture(scope="module")
def late(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"first_delay_s": 60}, deadline_s=0.1) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keyed(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, api_key="k") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def small(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, max_body_bytes=1024) as gateway:
        yield gateway
