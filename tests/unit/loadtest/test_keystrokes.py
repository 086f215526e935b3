"""Traces are stretches of real files, typed again."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from loadtest.keystrokes import cut_trace, source_files, traces

SOURCE = "".join(f"def f{n}(x):\n    return x + {n}\n\n" for n in range(60))


@given(st.integers(0, 1000))
def test_what_is_typed_completes_the_file(seed: int) -> None:
    trace = cut_trace(SOURCE, "a.py", random.Random(seed))
    assert trace is not None
    assert trace.before + trace.text + trace.after == SOURCE
    times = [key.at_s for key in trace.keys]
    assert times == sorted(times)
    assert times[0] > 0


@given(st.text(alphabet="ab #\n\t", max_size=200), st.integers(0, 9))
def test_any_file_is_cut_or_left(source: str, seed: int) -> None:
    trace = cut_trace(source, "a.py", random.Random(seed))
    if trace is not None:
        assert (trace.before + trace.text + trace.after).split() == source.split()


def test_a_line_break_and_the_indentation_are_one_key() -> None:
    trace = cut_trace(SOURCE, "a.py", random.Random(3))
    assert trace is not None
    breaks = [key.text for key in trace.keys if "\n" in key.text]
    assert breaks
    assert all(text.startswith("\n") for text in breaks)
    assert all(len(key.text) == 1 for key in trace.keys if "\n" not in key.text)


def test_the_same_seed_types_the_same_and_another_one_something_else() -> None:
    files = source_files()[:40]
    first, same, other = (list(islice(traces(files, seed), 5)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_tests_and_tiny_files_are_no_sources(tmp_path: Path) -> None:
    for name, text in {
        "a.py": SOURCE,
        "b.py": "x = 1\n",
        "tests/c.py": SOURCE,
        "d.go": SOURCE,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert [path.name for path in source_files(tmp_path)] == ["a.py"]
    assert [path.name for path in source_files(tmp_path, ".go")] == ["d.go"]
