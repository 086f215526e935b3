"""`tabwright bench` measures something on any model and says what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server import bench
from tabwright.errors import ConfigError
from tests.fakes.tiny_artifact import make_tiny_artifact

pytestmark = pytest.mark.needs("cpu")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(make_tiny_artifact(tmp_path / "tiny").path)


def test_the_bench_reports_speed_against_the_limit_it_measured(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--model", model, "--rounds", "1", "--threads", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["memory"]["memory_gb_s"] > 0.1
    cache_mb = report["memory"]["cache_mb"]  # 0 where the system does not say
    assert report["weights_fit_in_cache"] == (report["weight_mb"] < 0.8 * cache_mb)
    assert report["limit_tokens_s"] > report["series"]["decode, 1 request"]["median"] > 0
    wanted = {
        "one token, 1 request",
        "first token, 256-token prompt, cold",
        "first token, 256-token prompt, cached prefix",
        "first token, 900-token prompt, cold",
        "first token, 900-token prompt, cached prefix",
        "8 requests, 16-token prompts",
        "8 requests, 256-token prompts",
        "slot free after a cancel",
    }
    assert wanted <= set(report["series"])
    assert all(value > 0 for name in wanted for value in report["series"][name]["values"])


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        bench.main(["--model", str(tmp_path / "none")])
