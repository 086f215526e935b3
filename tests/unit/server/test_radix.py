"""The radix tree against a plain dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.radix import RadixTree

KEYS = st.text(alphabet="ab\n", max_size=8)


def found(tree: RadixTree[int], text: str) -> list[tuple[int, int]]:
    return list(tree.prefixes(text))


@given(st.lists(st.tuples(KEYS, st.booleans())), st.lists(KEYS, max_size=5))
def test_it_finds_every_prefix_that_a_dictionary_finds(
    steps: list[tuple[str, bool]], asked: list[str]
) -> None:
    tree: RadixTree[int] = RadixTree()
    model: dict[str, int] = {}
    for number, (key, adding) in enumerate(steps):
        if adding:
            tree.set(key, number)
            model[key] = number
        elif key in model:
            tree.remove(key)
            del model[key]
    for text in [*asked, *model]:
        wanted = [(n, model[text[:n]]) for n in range(len(text) + 1) if text[:n] in model]
        assert found(tree, text) == wanted
    assert bool(tree) == bool(model)
    shared = {key[: n + 1] for key in model for n in range(len(key))}
    assert tree.chars == len(shared), "what keys have in common is kept once"


def test_a_text_that_grows_is_kept_once() -> None:
    tree: RadixTree[int] = RadixTree()
    text = "x = 1\n" * 10_000
    for length in range(len(text) - 50, len(text)):
        tree.set(text[:length], length)
    assert tree.chars == len(text) - 1
