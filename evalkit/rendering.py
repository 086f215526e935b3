"""Writes a neutral problem in a language: the prompt a model continues, the program that runs it.

What a language looks like is data (`evalkit.runtimes`); here marks such as %name% are replaced.
The program calls the function with every case's arguments and prints the answers in a form that
`evalkit.answers` reads. What is expected is never in it. Read `render` first.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from evalkit.generate import cut_at_stops
from evalkit.lines import as_lines
from evalkit.neutral import Case, NeutralProblem, element_of, exact, is_list, spelled
from evalkit.problem import Problem
from evalkit.runtimes import Runtime
from tabwright.errors import InvalidRequest

_MARK = re.compile(r"%([a-z_]+)%")
_SOLUTION = "%solution%"
# File → what stands before, between and behind the places where the solution goes.
Around = Mapping[str, tuple[bytes, ...]]


def render(neutral: NeutralProblem, runtime: Runtime, reference: str | None = None) -> Problem:
    """Make the problem of one language; `reference` is a completion of its prompt."""
    names = runtime.names
    neutral = suited(neutral, runtime)
    if runtime.run:
        tests: dict[str, Any] = {"neutral": neutral.fields()}
    else:
        tests = {"setup": "", "check": python_check(neutral)}
    return Problem(
        task_id=neutral.id,
        language=runtime.name,
        prompt=prompt_of(neutral, runtime),
        stop=runtime.prompt.stop,
        reference=reference,
        entry_point=spelled(neutral.name, names.function, names.reserved),
        tests=tests,
    )


def suited(neutral: NeutralProblem, runtime: Runtime) -> NeutralProblem:
    """Leave out the cases whose values a language cannot tell from others.

    Raises:
        InvalidRequest: none would be left.
    """
    kinds = [*(kind for _, kind in neutral.parameters), neutral.returns]

    def can(case: Case) -> bool:
        values = zip((*case.args, case.returns), kinds, strict=True)
        return all(as_lines(v, kind) is not None for v, kind in values if is_list(kind))

    if not runtime.literals.lines or all(map(can, neutral.cases)):
        return neutral
    kept = [number for number, case in enumerate(neutral.cases) if can(case)]
    if not kept:
        raise InvalidRequest("cases", neutral.name, f"none can be written in {runtime.name}")
    examples = tuple(kept.index(number) for number in neutral.examples if number in kept)
    return replace(neutral, cases=tuple(neutral.cases[n] for n in kept), examples=examples)


def prompt_of(neutral: NeutralProblem, runtime: Runtime) -> str:
    """Write what a model continues: declarations, a comment with examples, the signature."""
    row = runtime.prompt
    names = runtime.names
    parameters = [
        filled(
            row.parameter,
            name=spelled(name, names.parameter, names.reserved),
            type=type_name(kind, runtime),
            number=str(number),
        )
        for number, (name, kind) in enumerate(neutral.parameters, 1)
    ]
    signature = filled(
        row.signature,
        name=spelled(neutral.name, names.function, names.reserved),
        parameters=row.between.join(parameters),
        parameter_types=row.types_between.join(
            type_name(kind, runtime) for _, kind in neutral.parameters
        ),
        returns=type_name(neutral.returns, runtime),
    )
    return filled(
        row.form,
        declared=_for_types(
            (neutral.returns, *(kind for _, kind in neutral.parameters)), row.declared
        ),
        comment=_comment(neutral, runtime),
        signature=signature,
    )


def page_prompt(text: str, runtime: Runtime) -> str:
    """Write what a model continues to a page: the task as a comment, and how a page begins."""
    comment = _as_comment(_wrapped(text, runtime), runtime)
    return filled(runtime.prompt.form, comment=comment)


def program_of(neutral: NeutralProblem, runtime: Runtime, solution: str) -> dict[str, bytes]:
    """Write every source file of the program that runs `solution` on all cases."""
    return with_solution(program_around(neutral, runtime), solution)


def with_solution(around: Around, solution: str) -> dict[str, bytes]:
    """Put a solution where it belongs."""
    middle = solution.encode()
    return {file: middle.join(pieces) for file, pieces in around.items()}


def program_around(neutral: NeutralProblem, runtime: Runtime) -> Around:
    """Write of every source file what stands around the solution, which is the same for all."""
    kind = neutral.returns
    marks = {
        "name": spelled(neutral.name, runtime.names.function, runtime.names.reserved),
        "returns": type_name(kind, runtime),
        "kind": re.sub(r"\W+", "_", kind).strip("_"),
        "type": kind,
        "support": _for_types([kind], runtime.support),
    }
    cases = [
        filled(
            runtime.case,
            call=call_of(neutral, runtime, case.args),
            number=str(number),
            **marks,
        )
        for number, case in enumerate(neutral.cases)
    ]
    marks["cases"] = "\n".join(cases)
    return {
        file: tuple(
            filled(piece, **marks).encode() for piece in runtime.template(template).split(_SOLUTION)
        )
        for file, template in runtime.sources.items()
    }


def solution_of(problem: Problem, runtime: Runtime, completion: str) -> str:
    """Put prompt and completion together; what follows a stop string is not the function's."""
    body = cut_at_stops(completion, problem.stop)
    return problem.prompt + body + (problem.suffix or "") + runtime.prompt.closing


def call_of(neutral: NeutralProblem, runtime: Runtime, args: tuple[Any, ...]) -> str:
    """Write a call of the function."""
    kinds = (kind for _, kind in neutral.parameters)
    literals = (literal(arg, kind, runtime) for arg, kind in zip(args, kinds, strict=True))
    return filled(
        runtime.prompt.call,
        name=spelled(neutral.name, runtime.names.function, runtime.names.reserved),
        arguments=runtime.prompt.argument_between.join(literals),
    )


def type_name(kind: str, runtime: Runtime) -> str:
    """Write a type.

    Raises:
        InvalidRequest: the language has no such type.
    """
    return _type_in(runtime.types, kind, runtime)


def _type_in(names: Mapping[str, str], kind: str, runtime: Runtime) -> str:
    if kind in names:
        return names[kind]
    if not is_list(kind) or "list" not in names:
        raise InvalidRequest("type", kind, f"{runtime.name} has {', '.join(names)}")
    return filled(names["list"], element=_type_in(names, element_of(kind), runtime))


def literal(value: Any, kind: str, runtime: Runtime) -> str:
    """Write a value of a type."""
    forms = runtime.literals
    if is_list(kind) and forms.lines:
        value, kind = as_lines(value, kind), "str"
    if is_list(kind):
        form = forms.empty.get(kind) if not value else None
        items = (literal(item, element_of(kind), runtime) for item in value)
        return filled(
            form if form is not None else forms.lists.get(kind, forms.list),
            items=forms.separator.join(items),
            element=type_name(element_of(kind), runtime),
            count=str(len(value)),
        )
    if kind == "str":
        return filled(forms.string, value=_escaped(value, runtime))
    if kind == "bool":
        return forms.true if value else forms.false
    written = filled(forms.integer if kind == "int" else forms.real, value=_number(value, kind))
    return filled(forms.negative, value=written) if written.startswith("-") else written


def python_check(neutral: NeutralProblem) -> str:
    """Write the `check(candidate)` that the oracle runs: exact types, and floats nearly equal."""
    kinds = [kind for _, kind in neutral.parameters]
    cases = [[list(map(exact, case.args, kinds)), case.returns] for case in neutral.cases]
    return _CHECK.replace("CASES", repr(json.dumps(cases))).replace("KIND", repr(neutral.returns))


_CHECK = """
import json
import math


def same(got, want, kind):
    if kind.startswith("list["):
        inner = kind[5:-1]
        return (
            type(got) is list
            and len(got) == len(want)
            and all(same(g, w, inner) for g, w in zip(got, want))
        )
    if kind == "float":
        return type(got) in (int, float) and math.isclose(got, want, rel_tol=1e-9, abs_tol=1e-9)
    return type(got) is type(want) and got == want


def check(candidate):
    for args, want in json.loads(CASES):
        assert same(candidate(*args), want, KIND)
"""


def filled(form: str, **marks: str) -> str:
    """Replace each known %mark%; whatever else stands between percent signs stays."""
    return _MARK.sub(lambda found: marks.get(found[1], found[0]), form)


def _number(value: float, kind: str) -> str:
    if kind == "int":
        return str(value)
    text = repr(float(value))
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{mark}{exponent.lstrip('+')}"


def _escaped(text: str, runtime: Runtime) -> str:
    forms = runtime.literals
    made = []
    for character in text:
        if character in forms.escapes:
            made.append(forms.escapes[character])
        elif " " <= character <= "~" or not forms.escape:
            made.append(character)
        else:
            made += [forms.escape.format(unit) for unit in _units(character, forms.escape_unit)]
    return "".join(made)


def _units(character: str, unit: str) -> list[int]:
    if unit == "byte":
        return list(character.encode())
    if unit == "utf16":
        raw = character.encode("utf-16-be")
        return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]
    return [ord(character)]


def _for_types(kinds: Iterable[str], texts: Mapping[str, str]) -> str:
    """Put together what each type that occurs needs, inner ones first."""
    used: set[str] = set()
    for kind in kinds:
        while is_list(kind):
            used.add(kind)
            kind = element_of(kind)
        used.add(kind)
    return "".join(texts[kind] for kind in sorted(used & set(texts), key=lambda k: (len(k), k)))


def _comment(neutral: NeutralProblem, runtime: Runtime) -> str:
    row, names = runtime.prompt, runtime.names
    text = neutral.text
    shown = {name: spelled(name, names.parameter, names.reserved) for name, _ in neutral.parameters}
    text = re.sub(r"`(\w+)`", lambda found: f"`{shown.get(found[1], found[1])}`", text)
    lines = _wrapped(text, runtime)
    named = runtime.documented or runtime.types
    docs = [
        filled(
            row.parameter_doc,
            name=shown[name],
            type=_type_in(named, kind, runtime),
            number=str(at),
        )
        for at, (name, kind) in enumerate(neutral.parameters, 1)
        if row.parameter_doc
    ]
    if row.returns_doc:
        docs.append(filled(row.returns_doc, type=_type_in(named, neutral.returns, runtime)))
    lines += ["", *docs] if docs else []
    lines += ["", "Examples:"] if neutral.examples else []
    for number in neutral.examples:
        case = neutral.cases[number]
        call = call_of(neutral, runtime, case.args)
        value = literal(case.returns, neutral.returns, runtime)
        lines += filled(row.example, call=call, value=value).split("\n")
    return _as_comment(lines, runtime)


def _wrapped(text: str, runtime: Runtime) -> list[str]:
    width = runtime.prompt.width - len(runtime.prompt.comment_line)
    lines: list[str] = []
    for paragraph in text.strip().split("\n"):
        lines += textwrap.wrap(paragraph, width) or [""]
    return lines


def _as_comment(lines: Iterable[str], runtime: Runtime) -> str:
    row = runtime.prompt
    body = "".join(f"{row.comment_line}{line}".rstrip() + "\n" for line in lines)
    return (row.comment_open + body + row.comment_close).rstrip("\n")
