"""The command that measures cancellation: it runs every path and finds no leak."""

from __future__ import annotations

import json

import pytest

from server.cancel_bench import main
from tabwright.artifact import ModelArtifact


@pytest.mark.parametrize(
    "engine",
    ["scripted", pytest.param("cpu", marks=[pytest.mark.slow, pytest.mark.needs("cpu")])],
)
def test_every_path_is_measured_and_nothing_leaks(
    tiny: ModelArtifact, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--engine", engine, "--model", str(tiny.path), "--rounds", "2", "--cancels", "30"]
    assert main([*flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["paths"]) == {
        "queued",
        "before first token",
        "mid-stream",
        "whole answer",
        "middleware",
        "nginx",
        "superseded",
    }
    for name, row in report["paths"].items():
        assert row.get("n") == 2 or (name == "nginx" and "skipped" in row)
    assert report["leaks_nothing"], report["left"]
    assert 0 < report["counted"] <= 30
    assert report["after_a_token"] > 0
    assert report["neighbours"]["answers"] >= 16
    assert report["neighbours"]["changed"] == 0
