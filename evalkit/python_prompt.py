"""Makes a Python problem of a neutral one: a signature with a docstring, and a check."""

from __future__ import annotations

import textwrap

from evalkit.neutral import NeutralProblem
from evalkit.problem import Problem

# A sample ends where something new starts at the left margin.
STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ")
_WIDTH = 84

# Equal and of the same type, except that a whole number will do for a float.
_CHECK = """\
def same(found, wanted):
    if type(wanted) is list:
        return (
            type(found) is list
            and len(found) == len(wanted)
            and all(map(same, found, wanted))
        )
    if type(wanted) is float and type(found) is int:
        return found == wanted
    return type(found) is type(wanted) and found == wanted

def check(candidate):
    for arguments, wanted in CASES:
        assert same(candidate(*arguments), wanted)
"""


def python_problem(neutral: NeutralProblem, reference: str | None) -> Problem:
    """Render a problem; `reference` is the body that continues the prompt."""
    cases = [(case.args, case.returns) for case in neutral.cases]
    return Problem(
        task_id=neutral.id,
        language="python",
        prompt=_prompt(neutral),
        stop=STOPS,
        reference=reference,
        entry_point=neutral.name,
        tests={"setup": "", "check": f"{_CHECK}\nCASES = {cases!r}\n"},
    )


def _prompt(neutral: NeutralProblem) -> str:
    parameters = ", ".join(f"{name}: {kind}" for name, kind in neutral.parameters)
    lines = textwrap.wrap(neutral.text, _WIDTH)
    for place in neutral.examples:
        case = neutral.cases[place]
        shown = ", ".join(map(repr, case.args))
        lines += ["", f">>> {neutral.name}({shown})", repr(case.returns)]
    body = "\n".join(f"    {line}" if line else "" for line in lines).lstrip()
    return f'def {neutral.name}({parameters}) -> {neutral.returns}:\n    """{body}\n    """\n'
