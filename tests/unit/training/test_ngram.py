"""Is the n-gram model the one of the textbook?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from training.ngram import KneserNey, discounts

_END, _A, _B, _C = range(4)


def test_a_bigram_model_of_seven_ids_is_the_one_worked_out_by_hand() -> None:
    """Text: a b a c . and a b . ; the counts are too few, so 0.5, 1 and 1.5 are taken off.

    Bigrams: ^a 2, ab 2, ba 1, ac 1, c. 1, b. 1. Different ids to the left: a 2 (^, b), b 1 (a),
    c 1 (a), end 2 (c, b): 6 together. Unigrams: p(b) = (1 - 0.5)/6 + left/4, where left is
    (1 + 0.5 + 0.5 + 1)/6 = 1/2, so 1/12 + 1/8 = 5/24; p(a) = (2 - 1)/6 + 1/8 = 7/24.
    After a: b 2, c 1, so left is (1 + 0.5)/3 = 1/2; p(b|a) = (2 - 1)/3 + 5/48 = 21/48.
    After c: p(a|c) = 0 + 0.5/1 * 7/24 = 7/48.
    """
    model = KneserNey.of([[_A, _B, _A, _C, _END], [_A, _B, _END]], 4, 2)
    assert model.next_shares([_A])[_B] == pytest.approx(21 / 48)
    assert model.next_shares([_C])[_A] == pytest.approx(7 / 48)
    nats = model.nats([_A, _B])
    assert nats[1] == pytest.approx(-math.log(21 / 48))


def _slow(
    documents: list[list[int]], vocabulary: int, order: int, context: list[int]
) -> list[float]:
    """The same model from its definition, with dictionaries."""
    padded = [[vocabulary] * (order - 1) + document for document in documents]
    grams: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for document in padded:
        for end in range(order - 1, len(document)):
            grams[order][tuple(document[end - order + 1 : end + 1])] += 1
    for size in range(order - 1, 0, -1):
        lefts = {tuple(d[e - size : e + 1]) for d in padded for e in range(order - 1, len(d))}
        grams[size] = Counter(gram[1:] for gram in lefts)
    shares = [1 / vocabulary] * vocabulary
    for size in range(1, order + 1):
        counts = grams[size]
        less = [0.0, *discounts(np.array(list(counts.values())))]
        tail = tuple(context[len(context) - size + 1 :]) if size > 1 else ()
        own = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == tail}
        if own:
            total = sum(own.values())
            left = sum(less[min(count, 3)] for count in own.values()) / total
            shares = [
                (own[n] - less[min(own[n], 3)] if n in own else 0) / total + left * shares[n]
                for n in range(vocabulary)
            ]
    return shares


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_the_model_of_the_definition(order: int) -> None:
    rng = np.random.default_rng(order)
    documents = [(rng.geometric(0.3, 60) % 12).tolist() for _ in range(12)]
    model = KneserNey.of(documents, 13, order)  # one id never occurs
    for context in ([12] * 4, [1, 2, 1, 0], [5, 0, 1, 1], [13, 13, 13, 13], [13, 13, 1, 2]):
        expected = _slow(documents, 13, order, context)
        told = model.next_shares([n for n in context if n != 13])
        assert told == pytest.approx(expected, abs=1e-12)
        assert told.sum() == pytest.approx(1)
        assert told.min() > 0


def test_the_loss_of_a_text_is_that_of_its_ids_one_by_one() -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 9, 50).tolist() for _ in range(8)]
    model = KneserNey.of(documents, 10, 3)
    text = [*documents[0][:20], 9, 9, 3]
    alone = [-math.log(model.next_shares(text[:at])[number]) for at, number in enumerate(text)]
    assert model.nats(text) == pytest.approx(alone)


def test_discounts_are_those_of_chen_and_goodman() -> None:
    counts = np.array([1] * 60 + [2] * 20 + [3] * 10 + [4] * 5)
    ratio = 60 / 100
    assert discounts(counts) == pytest.approx(
        (1 - 2 * ratio * 20 / 60, 2 - 3 * ratio * 10 / 20, 3 - 4 * ratio * 5 / 10)
    )
