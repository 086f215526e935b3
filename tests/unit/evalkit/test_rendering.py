"""Prompts and programs look as the language's data says, and a neutral problem is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.neutral import NeutralProblem, spelled
from evalkit.rendering import literal, program_of, prompt_of, render, solution_of, suited
from evalkit.runtimes import load_runtime, neutral_languages, runtime_names
from tabwright.errors import InvalidRequest
from tabwright.languages import languages

FIELDS: dict[str, Any] = {
    "id": "core/1",
    "name": "scaled_total",
    "text": "Add up `new` and multiply by `unit_price`.",
    "parameters": [["new", "list[int]"], ["unit_price", "float"]],
    "returns": "float",
    "examples": [0],
    "cases": [{"args": [[1, -2], 2], "returns": -2.0}, {"args": [[], 0.5], "returns": 0}],
}
PROBLEM = NeutralProblem.of(FIELDS)


def test_a_javascript_prompt_reads_like_javascript() -> None:
    assert prompt_of(PROBLEM, load_runtime("javascript")) == (
        "/**\n"
        " * Add up `new_` and multiply by `unitPrice`.\n"
        " *\n"
        " * @param {number[]} new_\n"
        " * @param {number} unitPrice\n"
        " * @returns {number}\n"
        " *\n"
        " * Examples:\n"
        " * scaledTotal([1, -2], 2.0) => -2.0\n"
        " */\n"
        "function scaledTotal(new_, unitPrice) {\n"
    )


def test_a_c_prompt_declares_the_lists_that_occur() -> None:
    prompt = prompt_of(PROBLEM, load_runtime("c"))
    assert "} IntList;\n" in prompt
    assert "StringList" not in prompt
    assert prompt.endswith("\ndouble scaled_total(IntList new, double unit_price) {\n")


@pytest.mark.parametrize("name", neutral_languages())
def test_no_mark_is_left_and_the_name_is_the_languages(name: str) -> None:
    runtime = load_runtime(name)
    problem = render(PROBLEM, runtime)
    texts = [problem.prompt, solution_of(problem, runtime, "BODY")]
    texts += [raw.decode() for raw in program_of(PROBLEM, runtime, texts[1]).values()]
    known = ("name", "type", "solution", "cases", "call", "comment", "signature", "items", "value")
    assert not [mark for mark in known for text in texts if f"%{mark}%" in text]
    assert problem.entry_point in problem.prompt
    assert any("BODY" in text for text in texts[1:])


@pytest.mark.parametrize("name", runtime_names())
def test_every_language_is_a_row_of_the_table(name: str) -> None:
    assert languages().get(name).name == name


@pytest.mark.parametrize("name", neutral_languages())
def test_what_is_expected_is_in_no_program(name: str) -> None:
    runtime = load_runtime(name)
    case = {"args": [[1], 1.0], "returns": 7654.321}
    secret = NeutralProblem.of({**FIELDS, "examples": [], "cases": [case]})
    program = program_of(secret, runtime, solution_of(render(secret, runtime), runtime, ""))
    assert not [raw for raw in program.values() if b"7654" in raw]


def test_a_sample_is_cut_where_the_function_ends() -> None:
    runtime = load_runtime("go")
    problem = render(PROBLEM, runtime)
    whole = solution_of(problem, runtime, "\treturn 1\n}\n\nfunc main() {\n}\n")
    assert whole == problem.prompt + "\treturn 1\n}\n"


def test_strings_are_escaped_as_each_language_wants() -> None:
    text = 'é"\\\n'
    assert literal(text, "str", load_runtime("c")) == r'"\303\251\"\\\n"'
    assert literal("😀", "str", load_runtime("java")) == r'"\ud83d\ude00"'


def test_names_are_spelled_in_the_five_ways() -> None:
    made = [spelled("a_big_one", case) for case in ("snake", "camel", "pascal", "kebab", "ada")]
    assert made == ["a_big_one", "aBigOne", "ABigOne", "a-big-one", "A_Big_One"]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("name", "camelCase", "name"),
        ("returns", "list[list[list[int]]]", "type"),
        ("returns", "list[int", "type"),
        ("examples", [7], "examples"),
        ("cases", [], "cases"),
        ("cases", [{"args": [[1]], "returns": 1.0}], "cases[0].args"),
        ("cases", [{"args": [[True], 1.0], "returns": 1.0}], "cases[0].args"),
        ("cases", [{"args": [[2**60], 1.0], "returns": 1.0}], "cases[0].args"),
        ("cases", [{"args": [[1], 1.0], "returns": "1"}], "cases[0].returns"),
    ],
)
def test_a_problem_that_cannot_be_used_is_refused(field: str, value: Any, named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        NeutralProblem.of({**FIELDS, field: value})
    assert named in str(refused.value)


def test_a_file_is_read_and_written_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(FIELDS), encoding="utf-8")
    assert NeutralProblem.of(NeutralProblem.read(path).fields()) == PROBLEM
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"problem\.json"):
        NeutralProblem.read(path)


def test_in_a_shell_a_list_is_a_text_and_what_would_be_ambiguous_is_left_out() -> None:
    runtime = load_runtime("shell")
    assert literal([[1, 2], [], [3]], "list[list[int]]", runtime) == r"$'1\t2\n\n3'"
    assert literal([True, False], "list[bool]", runtime) == r"$'true\nfalse'"
    cases = [[""], ["a\nb"], ["a", ""], []]
    fields = {
        **FIELDS,
        "parameters": [["words", "list[str]"]],
        "examples": [0, 2],
        "cases": [{"args": [words], "returns": 1.0} for words in cases],
    }
    problem = suited(NeutralProblem.of(fields), runtime)
    assert [case.args[0] for case in problem.cases] == [["a", ""], []]
    assert problem.examples == (0,)
    with pytest.raises(InvalidRequest, match="shell"):
        suited(NeutralProblem.of({**fields, "examples": [], "cases": fields["cases"][:2]}), runtime)


def test_a_type_that_a_language_lacks_is_refused() -> None:
    runtime = load_runtime("go")
    fewer = runtime.model_copy(update={"types": {"int": "int64", "str": "string", "bool": "bool"}})
    with pytest.raises(InvalidRequest, match="go has int, str, bool"):
        prompt_of(PROBLEM, fewer)
