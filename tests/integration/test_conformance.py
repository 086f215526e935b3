"""The conformance command tells a server that frees what is abandoned from one that does not.

The allowance is wide, for busy machines; what is asked is whether verdicts are right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from server.conformance import main, table
from tabwright.artifact import ModelArtifact
from tabwright.cli import main as tabwright
from tests.fakes.careless_server import Manners, careless_server
from tests.fakes.live_gateway import live_gateway

PACE = {"answer": "total = total + items[i]\n" * 12, "token_delay_s": 0.01, "first_delay_s": 0.05}
WIDE = ["--limit-ms", "150", "--rounds", "2", "--most", "6"]


def conform(
    capsys: pytest.CaptureFixture[str], url: str, flags: Sequence[str] = ()
) -> tuple[int, Any]:
    code = main(["--base-url", url, "--json", *WIDE, *flags])
    return code, json.loads(capsys.readouterr().out)


def verdicts(report: Any, protocol: str = "openai") -> dict[str, str]:
    return {path: c["verdict"] for path, c in report["protocols"][protocol]["paths"].items()}


def test_our_own_gateway_passes_every_path_of_its_protocols(
    tiny: ModelArtifact, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_gateway(tiny, options=PACE, max_running=2, api_key="secret") as live:
        flags = ["--proxied-url", live.url, "--protocols", "openai,tabby", "--api-key"]
        code, report = conform(capsys, live.url, [*flags, "secret"])
        live.wait_free()
    assert code == 0, report
    assert (report["kind"], report["model"]) == ("Tabwright", "tiny")
    for protocol in ("openai", "tabby"):
        seen = verdicts(report, protocol)
        streams = "pass" if protocol != "tabby" else "not applicable"
        assert seen.pop("mid-stream") == streams
        assert set(seen.values()) == {"pass"}, report
        assert len(seen) == 6
    assert report["protocols"]["openai"]["paths"]["queued"]["n"] == 2
    shown = table(report)
    assert "limit: 150 ms + one step + one look" in shown
    assert "FAIL" not in shown


@pytest.mark.parametrize("gauges", [True, False], ids=["gauges", "black box"])
def test_a_server_that_goes_on_generating_fails(
    gauges: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    manners = Manners(careless=True, gauges=gauges, slots=2 if gauges else 1)
    with careless_server(manners) as url:
        code, report = conform(capsys, url, ["--rounds", "1"])
    assert code == 1, report
    seen = verdicts(report)
    assert {seen[name] for name in ("before first token", "mid-stream", "whole answer")} == {"fail"}
    assert seen["queued"] == ("fail" if gauges else "not observable")
    assert seen["superseded"] == "not applicable"
    assert report["protocols"]["openai"]["paths"]["mid-stream"]["p50"] > 150
    assert "FAIL" in table(report)
    assert not report["protocols"]["tgi"]["spoken"]


@pytest.mark.parametrize(
    ("gauges", "slots"),
    [(True, 2), (False, 1), pytest.param(False, 3, marks=pytest.mark.slow)],
    ids=["gauges", "black box", "black box of three"],
)
def test_a_server_that_looks_after_its_clients_passes(
    gauges: bool, slots: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with careless_server(Manners(careless=False, gauges=gauges, slots=slots)) as url:
        code, report = conform(capsys, url)
    assert code == 0, report
    seen = verdicts(report)
    assert {seen[name] for name in ("before first token", "mid-stream", "whole answer")} == {"pass"}
    assert seen["queued"] == ("pass" if gauges else "not observable")
    assert (f"last of {slots} slots" in report["seen_by"]) == (not gauges)


def test_a_server_in_which_nothing_can_be_seen_is_no_pass(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with careless_server(Manners(careless=True, gauges=False, slots=100)) as url:
        code = tabwright(["conformance", "--base-url", url, *WIDE, "--protocols", "openai"])
    assert code == 3
    shown = capsys.readouterr()
    assert "6 requests ran at once" in shown.out
    assert "nothing could be seen" in shown.err


def test_answers_that_end_by_themselves_prove_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with careless_server(Manners(careless=True, gauges=True, tokens=5)) as url:
        flags = ["conformance", "--base-url", url, *WIDE, "--protocols", "openai"]
        assert tabwright(flags) == 3
    assert "answers end by themselves" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--base-url", "127.0.0.1:1"], 2, "no base URL"),
        (["--base-url", "http://127.0.0.1:1"], 3, "cannot connect"),
        (["--base-url", "http://127.0.0.1:1", "--protocols", "gopher"], 2, "known are openai"),
    ],
)
def test_wrong_use_is_told(
    flags: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tabwright(["conformance", *flags]) == code
    assert says in capsys.readouterr().err


def test_a_wrong_key_or_model_is_told(
    tiny: ModelArtifact, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_gateway(tiny, api_key="secret") as live:
        flags = ["conformance", "--base-url", live.url]
        assert tabwright([*flags, "--model", "x"]) == 2
        assert "--api-key" in capsys.readouterr().err
        assert tabwright([*flags, "--model", "x", "--api-key", "secret"]) == 2
        assert "--model" in capsys.readouterr().err
