"""Parts that the integration tests share."""

from __future__ import annotations

import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.tiny_artifact import make_tiny_artifact


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("models") / "tiny")
