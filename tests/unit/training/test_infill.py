"""Does hole cutting keep the text whole and the prompts right?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.data.infill import Infilling, cut_hole
from training.tokenizer import train_tokenizer

CODE = (
    'def add(a, b):\n    """Größe: ∑"""\n    return a + b\n\n\nfor i in range(10):\n    print(i)\n'
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    target = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer([CODE] * 5, 600, target)
    return Tokenizer.from_file(target)


def _infilling(tokenizer: Tokenizer, fim_rate: float, spm_rate: float) -> Infilling:
    return Infilling(tokenizer, FimFormat.bind("tabwright", tokenizer), fim_rate, spm_rate, 0.0)


@given(st.text(), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_hole_lies_within_the_text_and_is_not_empty(text: str, seed: int) -> None:
    hole = cut_hole(text, np.random.default_rng(seed))
    if hole is None:
        assert not text.strip()
    else:
        assert 0 <= hole.start < hole.end <= len(text)


@pytest.mark.parametrize("spm_rate", [0.0, 1.0])
def test_prefix_middle_and_suffix_join_to_the_window(tokenizer: Tokenizer, spm_rate: float) -> None:
    infilling = _infilling(tokenizer, 1.0, spm_rate)
    sentinels = FimFormat.bind("tabwright", tokenizer).ids
    ids = {name: sentinels[f"<fim_{name}>"] for name in ("prefix", "suffix", "middle")}
    end = tokenizer.token_id("<|endoftext|>")
    for seed in range(50):
        row = infilling.example(
            tokenizer.encode(CODE), "a.py", np.random.default_rng(seed), ends=True
        )
        assert row[0] == ids["prefix"]
        assert row[-1] == end
        at_suffix, at_middle = row.index(ids["suffix"]), row.index(ids["middle"])
        if spm_rate:
            assert at_suffix == 1
            suffix, rest = row[2:at_middle], row[at_middle + 1 : -1]
            assert tokenizer.decode(rest) + tokenizer.decode(suffix) == CODE
        else:
            prefix, suffix = row[1:at_suffix], row[at_suffix + 1 : at_middle]
            middle = row[at_middle + 1 : -1]
            joined = "".join(tokenizer.decode(part) for part in (prefix, middle, suffix))
            assert joined == CODE


def test_a_window_that_cuts_a_character_is_trained_on_as_it_is(tokenizer: Tokenizer) -> None:
    broken = tokenizer.encode("é")[:1]
    row = _infilling(tokenizer, 1.0, 0.5).example(
        broken, "a.py", np.random.default_rng(0), ends=False
    )
    assert row == broken


def test_plain_windows_end_only_where_their_document_does(tokenizer: Tokenizer) -> None:
    infilling = _infilling(tokenizer, 0.0, 0.0)
    window = tokenizer.encode(CODE)
    rng = np.random.default_rng(0)
    assert infilling.example(window, "a.py", rng, ends=False) == window
    assert infilling.example(window, "a.py", rng, ends=True)[:-1] == window
