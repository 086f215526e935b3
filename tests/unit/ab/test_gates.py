"""The file of gates says what a candidate has to show, and a wrong one stops the program."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ab.gates import load_gates
from tabwright.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_what_a_file_leaves_out_stays_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text('[ladder]\ninternal = ["ada"]\n[metrics.acceptance]\nmargin = 0.03\n'
                    "optional = false\n")  # fmt: skip
    gates, usual = load_gates(path), load_gates()
    assert gates.ladder == usual.ladder.model_copy(update={"internal": ("ada",)})
    assert {name: rule.margin for name, rule in gates.metrics.items()} == {"acceptance": 0.03}
    assert gates.errors == usual.errors


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = 1", "x: Extra"),
        ("[ladder]\nrungs = [5, 1, 100]", "rising"),
        ("[ladder]\nrungs = [1, 50]", "the last is 100"),
        ("[ladder]\nusers = 1", "users"),
        ("[metrics.happiness]\nmargin = 0\noptional = true", "no metric; known: acceptance"),
        ('[metrics."latency in ms"]\nmargin = 0\noptional = true', "better when less"),
        ("[metrics.acceptance]\nmargin = -0.1\noptional = true", "margin"),
        ("alpha = 0", "alpha"),
        ("alpha", "Expected"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=word):
        load_gates(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        load_gates(tmp_path / "nothing.toml")


def test_the_measured_method_of_growthbook_is_that_of_gbstats() -> None:
    """Two arms of 400 users, means 0.28 and 0.30, variances 0.0256 and 0.0289; gbstats 0.8.0."""
    script = importlib.util.spec_from_file_location("measured", ROOT / "docs/results/gates.py")
    assert script is not None
    assert script.loader is not None
    measured = importlib.util.module_from_spec(script)
    script.loader.exec_module(measured)
    half = measured.width((0.0256 + 0.0289) / 400, 800, 0.05)
    assert half == pytest.approx(0.06072918761935162 - 0.02, rel=1e-9)
