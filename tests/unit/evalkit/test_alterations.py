"""An expected value is made wrong, and nothing else is."""

from __future__ import annotations

import pytest

from evalkit.alterations import alterations, argument_alterations
from evalkit.program_forms import Form, ended, fault_of, form_names, load_form, program_files
from evalkit.runtimes import load_runtime, runtime_names
from tabwright.errors import UnknownLanguage

EXPECTED = {
    "cpp": ('    assert(candidate((2), ("a")) == (40));\n', {"(41)"}),
    "java": ('    assert(half((4l)).equals("a b"));\n', {'"xa b"'}),
    "javascript": ("  assert.deepEqual(candidate([1], 2),[true, 7.5]);\n", {"false", "8.5"}),
    "go": ('     { actual: candidate("x", 1), expected: []int{3, 4} },\n', {"{4, 4}", "{3, 5}"}),
    "rust": ('    assert_eq!(candidate(vec![1]), String::from("k"));\n', {'"xk"'}),
    "perl": ('        if(eq_deeply($candidate->("a(", 3),[5])) {\n', {"[6]"}),
    "php": ('    if (candidate(1) !== true) { throw new Exception("no!"); }\n', {"false"}),
    "r": ("    stopifnot(isTRUE(all.equal(candidate('a', 1), c(2))))\n", {"c(3)"}),
    "ruby": ("    assert_equal([9], candidate.call([1, 2]))\n", {"[10]"}),
    "racket": ("    (check-within (candidate (list 1 2) 3) (list 8) 0.001)\n", {"(list 9)"}),
    "clojure": ("  (is (= (candidate [1 2] 3) [8]))\n", {"[9]"}),
    "haskell": ('  if candidate [1] 2 == [8] then pure () else error "no 1"\n', {"[9]"}),
    "ocaml": ("  (assert ((candidate [1; 2]) = [8]));\n", {"[9]"}),
    "elixir": ("    assert [8] == HumanEval.candidate([1, 2])\n", {"[9]"}),
    "shell": ('    [[ $(candidate "1" "2") = "8" ]]\n', {'"x8"'}),
    "ada": ('   pragma Assert (Candidate (1, "a") = 8);\n', {"= 9"}),
    "scala": ("    assert(half((1l)).equals((List(8l))));\n", {"9l"}),
    "d": ("    assert(candidate([1], 2) == 8L);\n", {"9L"}),
    "lua": ("    lu.assertEquals(candidate({1}, 'a'), 'b')\n", {"'a')"}),
    "csharp": ("    Debug.Assert(Half((1L)) == (8L));\n", {"9L"}),
    "typescript": ('  assert.deepEqual(candidate("a"),"b");\n', {'"xb"'}),
}


@pytest.mark.parametrize("language", EXPECTED)
def test_only_what_is_expected_is_made_wrong(language: str) -> None:
    line, wanted = EXPECTED[language]
    form = load_form(language, "multipl-e")
    made = alterations(line, form, "H_0_half", "half", "")
    assert len(made) == len(wanted)
    for text in wanted:
        assert any(text in one for one in made), made
    assert line not in made


@pytest.mark.parametrize(
    ("language", "line", "shown"),
    [
        ("cpp", "    assert(candidate((%d)) == (7));\n", "half((3))"),
        ("haskell", "  if candidate %d == 7 then pure () else error\n", ">>> half 3\n"),
        ("racket", "    (check-within (candidate %d) 7 0.001)\n", "(half 3)"),
        ("elixir", "    assert 7 == HumanEval.candidate(%d)\n", "no example"),
    ],
)
def test_the_last_assert_comes_first_that_the_prompt_does_not_show(
    language: str, line: str, shown: str
) -> None:
    tests = "".join(line % number for number in (1, 2, 3))
    made = alterations(tests, load_form(language, "multipl-e"), "H_0_half", "half", shown)
    changed = [next(at for at, row in enumerate(text.splitlines()) if "8" in row) for text in made]
    assert changed == ([2, 1, 0] if shown == "no example" else [1, 0, 2])


def test_tolerances_stay() -> None:
    form = load_form("cpp", "humaneval-x")
    tests = "int main(){\n    assert (abs(half(3.0) - 1.5) < 1e-4);\n}\n"
    assert alterations(tests, form, "CPP/0", "half", "") == [tests.replace("1.5", "2.5")]


def test_asserts_without_a_literal_can_have_their_arguments_changed() -> None:
    form = load_form("java", "humaneval-x")
    tests = "List<Boolean> correct = Arrays.asList(\n  s.even(4),\n  !s.even(3)\n);"
    assert alterations(tests, form, "Java/0", "even", "") == []
    assert set(argument_alterations(tests, form)) == {
        tests.replace("4", "5"),
        tests.replace("(3)", "(4)"),
    }


def test_tests_that_say_what_is_expected_by_their_form_are_turned_round() -> None:
    form = load_form("java", "humaneval-x")
    list_ = "List<Boolean> correct = Arrays.asList(\n  s.even(4),\n  %s\n);\n"
    tests = list_ + "if (correct.contains(false)) {\n"
    turned = list_ + "if (correct.get(correct.size() - 1)) {\n"
    expects_none = tests % "!s.even(3)"
    assert alterations(expects_none, form, "Java/0", "even", "") == [turned % "!s.even(3)"]
    (made,) = alterations(tests % "s.even(4) == true", form, "Java/0", "even", "")
    assert made == tests % "s.even(4) == false"


def test_what_tells_the_end_stands_behind_the_last_test() -> None:
    tests = "int main() {\n    if (x) { assert(candidate(1) == (2)); }\n}\n"
    text = ended(load_form("cpp", "multipl-e"), tests)
    assert text.index("assert") < text.index("nonce") < text.rindex("}")


def test_go_imports_what_is_used_and_nothing_else() -> None:
    form, runtime = load_form("go", "multipl-e"), load_runtime("go")
    used = '// The items of a list.\nfunc f() { strings.ToUpper("a") }\n'
    solution = f'package x\n\nimport (\n\t"sort"\n\t"fmt"\n)\n\n{used}'
    tests = "func TestF(t *testing.T) {\n}\n"
    text = program_files(form, runtime, "", solution, tests)["main_test.go"].decode()
    assert 'import "strings"' in text
    assert 'import "testing"' in text
    assert '"sort"' not in text
    assert '"container/list"' not in text
    assert text.count("package ") == 1


def test_tests_that_nothing_passes_are_known() -> None:
    form = load_form("csharp", "multipl-e")
    tests = "Debug.Assert(F((1L)).Equals((new List<long>(new long[]{(long)1L}))));"
    assert "identity" in fault_of(form, "H_0", "", tests)
    assert not fault_of(form, "H_0", "", "Debug.Assert(F((1L)) == (1L));")
    assert fault_of(load_form("javascript", "humaneval-x"), "JavaScript/112", "", "")
    assert fault_of(load_form("php", "multipl-e"), "HumanEval_23_strlen", "", "")
    ruby = load_form("ruby", "multipl-e")
    assert "quote" in fault_of(ruby, "H_0", "", 'assert_equal([], candidate.call(""A", "B""))')
    assert not fault_of(ruby, "H_0", "", 'assert_equal(["", "a"], candidate.call("a b", "c"))')
    clojure = load_form("clojure", "multipl-e")
    assert not fault_of(clojure, "H_0", '(defn f\n  "Says \\"a\\"."\n  [x]\n  ', "")
    assert "documentation" in fault_of(clojure, "H_0", '(defn f\n  "Says "a"."\n  [x]\n  ', "")


def test_numbers_below_zero_are_written_as_ocaml_has_them() -> None:
    form = load_form("ocaml", "multipl-e")
    text = ended(form, "(assert ((candidate (~1) [(~2).5; 3]) = (~4)));")
    assert text.startswith("(assert ((candidate (-1) [(-2.5); 3]) = (-4)));")


@pytest.mark.parametrize(
    "language", [name for name in runtime_names() if name not in ("python", "html")]
)
def test_every_language_has_a_form_whose_files_are_there(language: str) -> None:
    names = form_names(language)
    assert names
    runtime = load_runtime(language)
    for name in names:
        form: Form = load_form(language, name)
        steps = [step for step in (form.prepare, form.compile, form.run) if step is not None]
        for file in (*form.files.values(), *(file for step in steps for file in step.files)):
            assert runtime.template(file)
        files = program_files(form, runtime, "", "SOLUTION", "TESTS %done%")
        whole = b"\n".join(files.values())
        assert b"SOLUTION" in whole
        assert b"TESTS" in whole
        assert b"%done%" not in whole


def test_a_benchmark_without_a_form_is_refused() -> None:
    with pytest.raises(UnknownLanguage, match="humaneval-x"):
        load_form("lua", "humaneval-x")
