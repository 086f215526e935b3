"""Web tasks: what a file may say, what a comparison means, and what the bundled ones have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from evalkit.benchmarks.web import Web
from evalkit.mutants import chosen_mutants
from evalkit.web_task import STEPS, Compared, View, WebTask, read_task
from tabwright.errors import InvalidRequest, UnknownLanguage

PAGE = Path(__file__).parents[3] / "docs" / "extending" / "benchmark.md"
STEP = {"text": "#a", "equals": "b"}
FIELDS: dict[str, Any] = {
    "id": "t/1",
    "name": "one",
    "text": "A page.",
    "reference": "<html>a b c",
    "mutants": [["a", ""], ["b", ""], ["c", "d"]],
    "views": [{"steps": [STEP]}],
}


def test_what_is_right_can_be_read() -> None:
    assert WebTask.of(FIELDS, "here").views[0].width == 1024


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": "a -- b"}, "without --"),
        ({"text": "é"}, "ASCII"),
        ({"mutants": [["a", ""]]}, "at least 3"),
        ({"mutants": [["x", ""], ["b", ""], ["c", ""]]}, "'x' must stand once"),
        ({"mutants": [["a", "a"], ["b", ""], ["c", ""]]}, "and change"),
        ({"views": []}, "views"),
        ({"views": [{"steps": [{"click": "#a"}]}]}, "must look at something"),
        ({"views": [{"steps": [{"text": "#a"}]}]}, "says nothing"),
        ({"views": [{"steps": [{"clik": "#a"}, STEP]}]}, "not 'clik'"),
        ({"views": [{"steps": [{"text": "#a", "equal": "b"}]}]}, "steps.0.equal"),
        ({"views": [{"steps": [{"press": "Escap"}, STEP]}]}, "steps.0.press"),
        ({"views": [{"widht": 3, "steps": [STEP]}]}, "views.0.widht"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        WebTask.of({**FIELDS, **change}, "here")
    assert says in str(refused.value)
    assert "here" in str(refused.value)


@pytest.mark.parametrize(
    ("comparison", "value", "holds"),
    [
        ({"equals": "3"}, "3", True),
        ({"equals": 3}, 3.0, True),
        ({"equals": True}, True, True),
        ({"equals": True}, 1, False),
        ({"equals": "true"}, True, False),
        ({"differs": "a"}, "b", True),
        ({"differs": "a"}, None, False),
        ({"has": "ell"}, "hello", True),
        ({"lacks": "ell"}, "hello", False),
        ({"matches": "a|b"}, "ab", False),
        ({"at_least": 12}, "12.5px", True),
        ({"at_most": 12}, "12.5px", False),
        ({"at_least": 0}, "auto", False),
        ({"at_least": 1, "at_most": 2}, 3, False),
    ],
)
def test_all_that_is_compared_must_hold(
    comparison: dict[str, Any], value: Any, holds: bool
) -> None:
    assert Compared.model_validate(comparison).holds(value) is holds


def test_the_bundled_tasks_are_enough_and_each_is_another() -> None:
    problems = Web().problems("html")
    assert len(problems) >= 24
    assert [p.task_id for p in problems] == [f"web/{n:02}" for n in range(1, len(problems) + 1)]
    assert len({p.entry_point for p in problems}) == len(problems)
    assert all(len(chosen_mutants("web", p)) >= 3 for p in problems)


def test_every_kind_of_step_is_used_by_a_bundled_task() -> None:
    views = [view for p in Web().problems("html") for view in p.tests["web"].views]
    used = {type(step) for view in views for step in view.steps}
    assert not set(STEPS.values()) - used - {STEPS["resize"], STEPS["wait_ms"]}


def test_the_prompt_is_a_comment_and_the_beginning_of_a_page() -> None:
    problem = Web().problems("html")[0]
    assert re.fullmatch(r"<!--\n[^<>]+\n-->\n<!DOCTYPE html>\n", problem.prompt)
    assert problem.stop == ("</html>",)
    with pytest.raises(UnknownLanguage, match="html"):
        Web().problems("python")


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidRequest, match="folder"):
            Web(folder)
    (tmp_path / "x.toml").write_text("id = ")
    with pytest.raises(InvalidRequest, match="web task"):
        read_task(tmp_path / "x.toml")


def test_every_field_of_a_task_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    fields = {name for kind in (WebTask, View, *STEPS.values()) for name in kind.model_fields}
    assert not {name for name in fields if f"`{name}`" not in text}
