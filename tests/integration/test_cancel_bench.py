"""The command that measures cancellation: it runs every path and finds no leak."""

from __future__ import annotations

import json

import pytest

from server.cancel_bench import main
from server.cancel_rig import VICTIM, busy_rig
from server.settings import ServerSettings
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


@pytest.mark.anyio
async def test_a_refused_victim_is_noted_and_not_waited_for(tiny: ModelArtifact) -> None:
    settings = ServerSettings(port=0, engine="scripted", model=tiny.path, api_key="k" * 32)
    async with busy_rig(settings, nginx=False) as rig:
        async with rig.client(rig.port, rig.victim(stream=True), x_request_id=VICTIM) as stream:
            assert not await rig.flows(stream)
        assert rig.error == "HTTP/1.1 401 Unauthorized"
        assert rig.victim_is_gone()
