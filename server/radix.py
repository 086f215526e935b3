"""A radix tree from strings to values, for finding every key that is a prefix of a text.

Keys share the memory of what they have in common, so the texts above a cursor, which grow by a
character at a time, are kept once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class _Node(Generic[Value]):
    __slots__ = ("children", "label", "value")

    def __init__(self, label: str, value: Value | None = None) -> None:
        self.label = label
        self.value = value
        self.children: dict[str, _Node[Value]] = {}


class RadixTree(Generic[Value]):
    """Maps strings to values."""

    def __init__(self) -> None:
        """Start empty."""
        self._root: _Node[Value] = _Node("")
        self.chars = 0

    def set(self, key: str, value: Value) -> None:
        """Put `value` at `key`, in place of what is there."""
        node, place = self._root, 0
        while place < len(key):
            child = node.children.get(key[place])
            if child is None:
                child = _Node(key[place:])
                node.children[key[place]] = child
                self.chars += len(child.label)
                node, place = child, len(key)
                break
            shared = _shared(child.label, key, place)
            if shared < len(child.label):
                child = _split(node, child, shared)
            node, place = child, place + shared
        node.value = value

    def prefixes(self, text: str) -> Iterator[tuple[int, Value]]:
        """Yield the length and the value of every key that `text` starts with, shortest first."""
        node, place = self._root, 0
        while True:
            if node.value is not None:
                yield place, node.value
            child = node.children.get(text[place]) if place < len(text) else None
            if child is None or not text.startswith(child.label, place):
                return
            node, place = child, place + len(child.label)

    def remove(self, key: str) -> None:
        """Forget `key`, which must be there."""
        path, node, place = [], self._root, 0
        while place < len(key):
            path.append(node)
            node = node.children[key[place]]
            place += len(node.label)
        node.value = None
        while path and node.value is None and not node.children:
            parent = path.pop()
            del parent.children[node.label[0]]
            self.chars -= len(node.label)
            node = parent
        if path and node.value is None and len(node.children) == 1:
            _merge(path[-1], node)

    def __bool__(self) -> bool:
        return bool(self._root.children) or self._root.value is not None


def _shared(label: str, key: str, place: int) -> int:
    """Count how many characters `label` and `key` from `place` have in common."""
    if key.startswith(label, place):
        return len(label)
    low, high = 0, min(len(label), len(key) - place)
    while low < high:  # bisected, because comparing slices is quick and comparing characters is not
        middle = (low + high + 1) // 2
        if key.startswith(label[:middle], place):
            low = middle
        else:
            high = middle - 1
    return low


def _split(parent: _Node[Value], child: _Node[Value], at: int) -> _Node[Value]:
    upper: _Node[Value] = _Node(child.label[:at])
    child.label = child.label[at:]
    upper.children[child.label[0]] = child
    parent.children[upper.label[0]] = upper
    return upper


def _merge(parent: _Node[Value], node: _Node[Value]) -> None:
    (only,) = node.children.values()
    only.label = node.label + only.label
    parent.children[only.label[0]] = only
