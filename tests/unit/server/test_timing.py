"""Stages are told apart, and a stage that was cut short is counted where that is said."""

from __future__ import annotations

from itertools import pairwise

from server.timing import Stage, Timing


def reached(timing: Timing) -> set[Stage]:
    assert all(seconds >= 0 for seconds in timing.seconds().values())
    return set(timing.seconds())


def started() -> Timing:
    timing = Timing()
    timing.end(Stage.ADMISSION)
    timing.end(Stage.PROMPT)
    return timing


def test_a_whole_generation_has_every_stage_in_a_row() -> None:
    timing = started()
    timing.first_token(0.0)
    timing.end(Stage.DECODE)
    timing.close()
    assert reached(timing) == set(Stage)
    spans = list(timing.spans.values())
    assert list(timing.spans) == [stage for stage in Stage if stage is not Stage.POSTPROCESS]
    assert all(before.end == after.start for before, after in pairwise(spans))


def test_the_wait_for_the_first_token_is_split_as_the_engine_says() -> None:
    timing = started()
    waited = timing.spans[Stage.PROMPT].end
    timing.first_token(0.000001)
    assert abs(timing.seconds()[Stage.QUEUE] - 0.000001) < 1e-9
    assert timing.spans[Stage.QUEUE].start == waited
    assert timing.spans[Stage.PREFILL].start == timing.spans[Stage.QUEUE].end


def test_what_ends_before_the_first_token_has_no_wait_for_the_engine() -> None:
    timing = started()
    timing.cut()
    timing.close()
    assert reached(timing) == {Stage.ADMISSION, Stage.PROMPT}


def test_a_wait_in_line_that_was_cut_short_counts_and_a_refusal_does_not() -> None:
    left, refused = Timing(), Timing()
    left.cut()
    for timing in (left, refused):
        timing.close()
    assert reached(left) == {Stage.ADMISSION}
    assert reached(refused) == set()


def test_an_answer_that_was_cut_short_counts_as_decoded_so_far() -> None:
    timing = started()
    timing.first_token(0.0)
    timing.cut()
    timing.close()
    assert Stage.DECODE in reached(timing)
