"""Which tokens the sampler picks how often, against chances worked out by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from server.engines.cpu_messages import Add  # noqa: E402
from server.engines.token_choice import TokenChooser, log_total, rankings  # noqa: E402

CHANCES = {0: 0.4, 1: 0.3, 2: 0.2, 3: 0.1}
LOGITS = np.log(np.array([CHANCES[i] for i in range(4)])) + 7.0
DRAWS = 4000
ALL = [0, 1, 2, 3]


def chooser(seed: int = 1, **fields: Any) -> TokenChooser:
    plain: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "stop_ids": []}
    add = Add(request=1, prompt=[3], max_tokens=1, seed=seed, **(plain | fields))
    return TokenChooser(add, 4)


def frequencies(**fields: Any) -> dict[int, float]:
    counts = Counter(chooser(seed, **fields).choose(LOGITS) for seed in range(DRAWS))
    return {i: counts[i] / DRAWS for i in range(4)}


def near(chances: dict[int, float]) -> Any:
    whole = sum(chances.values())
    return pytest.approx({i: chances.get(i, 0) / whole for i in range(4)}, abs=0.03)


def test_tokens_come_as_often_as_they_are_likely() -> None:
    assert frequencies() == near(CHANCES)


def test_temperature_sharpens() -> None:
    assert frequencies(temperature=0.5) == near({i: p**2 for i, p in CHANCES.items()})


@pytest.mark.parametrize(("top_k", "kept"), [(1, [0]), (2, [0, 1]), (4, ALL), (9, ALL)])
def test_top_k_keeps_the_likeliest(top_k: int, kept: list[int]) -> None:
    assert frequencies(top_k=top_k) == near({i: CHANCES[i] for i in kept})


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1e-9, [0]), (0.39, [0]), (0.41, [0, 1]), (0.71, [0, 1, 2]), (1.0, ALL)],
)
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: list[int]) -> None:
    assert frequencies(top_p=top_p) == near({i: CHANCES[i] for i in kept})


@pytest.mark.parametrize(
    ("min_p", "kept"), [(1.0, [0]), (0.51, [0, 1]), (0.49, [0, 1, 2]), (0.0, ALL)]
)
def test_min_p_drops_what_is_less_likely_than_a_share_of_the_likeliest(
    min_p: float, kept: list[int]
) -> None:
    assert frequencies(min_p=min_p) == near({i: CHANCES[i] for i in kept})


def test_a_bias_shifts_the_chances() -> None:
    bias = [(3, math.log(4.0)), (0, -100.0)]
    assert frequencies(logit_bias=bias) == near({1: 0.3, 2: 0.2, 3: 0.4})


def test_a_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    below = LOGITS - 20  # all negative; 3 stands in the prompt
    only: dict[str, Any] = {"temperature": 0.0, "logit_bias": [(0, -100.0), (1, -100.0)]}
    for logits, gap in ((LOGITS, LOGITS[2] / LOGITS[3]), (below, below[3] / below[2])):
        swapped = logits[[0, 1, 3, 2]]  # now 3 is the likelier of the two
        factor = swapped[3] / swapped[2] if swapped[3] > 0 else swapped[2] / swapped[3]
        assert factor == pytest.approx(gap)
        assert chooser(repetition_penalty=factor * 0.999, **only).choose(swapped) == 3
        assert chooser(repetition_penalty=factor * 1.001, **only).choose(swapped) == 2


def test_extreme_values_choose_something() -> None:
    for fields in (
        {"temperature": 1e-4, "min_p": 1.0},
        {"temperature": 2.0, "top_p": 1e-300, "top_k": 1},
        {"logit_bias": [(i, -100.0) for i in range(4)]},
        {"presence_penalty": -2.0, "frequency_penalty": -2.0},
    ):
        one = chooser(**fields)
        assert all(0 <= one.choose(LOGITS) < 4 for _ in range(300))


def test_rankings_are_ordered_and_as_long_as_asked() -> None:
    rows = np.array([[1.0, 3.0, 3.0, -2.0], [0.0, 0.0, 0.0, 9.0]], dtype=np.float32)
    totals = log_total(rows)
    ids = [[i for i, _ in row] for row in rankings(rows, totals, 3)]
    assert ids == [[1, 2, 0], [3, 0, 1]]
    whole = rankings(rows, totals, 9)
    assert [len(row) for row in whole] == [4, 4]
    for row in whole:
        assert sum(math.exp(p) for _, p in row) == pytest.approx(1, abs=1e-6)
    assert rankings(rows, totals, 0) == [[], []]
    assert rows[0, 1] == 3.0, "the caller's rows stay as they are"
