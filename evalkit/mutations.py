"""Makes wrong programs of a right one: small edits, in an order that never changes.

Python is edited where its syntax tree says, other languages by rules on their text. An edit may
leave a program that does the same; `evalkit.mutants` keeps the list of those. Read `edits` first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple


class Edit(NamedTuple):
    """Replace source[start:end], in bytes, by text. kind: what sort of mistake it is."""

    start: int
    end: int
    text: str
    kind: str


def edits(source: str, language: str) -> Iterator[Edit]:
    """Every edit of a program, in the order of its text within each kind."""
    found = _python(source) if language == "python" else _text(source)
    return iter(sorted(set(found)))


_COMPARED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "+"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.BitXor: ("^", "|"),
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any", "sum": "len", "len": "bool"}


def _python(source: str) -> Iterator[Edit]:
    raw = source.encode()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            starts[node.lineno - 1] + node.col_offset,
            starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def between(one: ast.expr, other: ast.expr, old: str, new: str, kind: str) -> Iterator[Edit]:
        start = raw.find(old.encode(), span(one)[1], span(other)[0])
        if start >= 0:
            yield Edit(start, start + len(old), new, kind)

    for node in _edited(ast.parse(source)):
        if isinstance(node, ast.Compare):
            for (one, other), operator in zip(
                pairwise([node.left, *node.comparators]), node.ops, strict=True
            ):
                yield from between(one, other, *_COMPARED[type(operator)], "comparison")
        elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
            yield from between(node.left, node.right, *_COMPUTED[type(node.op)], "arithmetic")
        elif isinstance(node, ast.AugAssign) and type(node.op) in _COMPUTED:
            yield from between(node.target, node.value, *_COMPUTED[type(node.op)], "arithmetic")
        elif isinstance(node, ast.BoolOp):
            words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for one, other in pairwise(node.values):
                yield from between(one, other, *words, "logic")
        else:
            yield from _single(node, span, raw)


def _edited(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node, except in f-strings (their places are not known) and texts that stand alone."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.JoinedStr):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        yield node
        todo += ast.iter_child_nodes(node)


def _single(
    node: ast.AST, span: Callable[[ast.expr | ast.stmt], tuple[int, int]], raw: bytes
) -> Iterator[Edit]:
    """Edits of a node by itself."""
    if isinstance(node, ast.Constant) and (other := _other(node.value)) is not None:
        yield Edit(*span(node), other, "constant")
    elif isinstance(node, ast.If | ast.IfExp):
        start, end = span(node.test)
        yield Edit(start, end, f"not ({raw[start:end].decode()})", "condition")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield Edit(span(node)[0], span(node.operand)[0], "", "sign")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in _TWINS:
            yield Edit(*span(node.func), _TWINS[node.func.id], "function")
    elif isinstance(node, ast.Assign | ast.AugAssign):
        yield Edit(*span(node), "pass", "statement")
    elif isinstance(node, ast.Return) and node.value is not None:
        start, end = span(node.value)
        value = raw[start:end].decode()
        for wrong in ("None", f"[{value}]", f"({value}, 0)"):
            yield Edit(start, end, wrong, "result")
    elif isinstance(node, ast.comprehension):
        for test in node.ifs:
            start, end = span(test)
            yield Edit(start, end, f"not ({raw[start:end].decode()})", "condition")


def _other(value: object) -> str | None:
    """Another constant of the same type, as source; None where there is none worth trying."""
    if isinstance(value, bool):
        return repr(not value)
    if isinstance(value, int | float):
        return repr(value + 1)
    return repr(value + "?") if isinstance(value, str) else None


_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_SWAPS = {
    "comparison": {
        **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "===": "!=="},
        **{"!==": "===", "/=": "=", "<>": "=", "~=": "==", "eq": "ne", "ne": "eq"},
        **{"-lt": "-le", "-le": "-lt", "-gt": "-ge", "-ge": "-gt", "-eq": "-ne", "-ne": "-eq"},
    },
    "direction": {
        **{"<": ">", "<=": ">=", ">": "<", ">=": "<="},
        **{"-lt": "-gt", "-le": "-ge", "-gt": "-lt", "-ge": "-le"},
    },
    "wrong comparison": {
        **{"<": "==", "<=": "==", ">": "==", ">=": "=="},
        **{"-lt": "-eq", "-le": "-eq", "-gt": "-eq", "-ge": "-eq"},
    },
    "arithmetic": {"+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "+", "mod": "+"}
    | {"+=": "-=", "-=": "+=", "div": "*", "rem": "+"}
    | {"%/%": "*", "%%": "+", "`div`": "*", "`mod`": "+", "quot": "*", "quotient": "*"}
    | {"modulo": "+"},
    "logic": {"&&": "||", "||": "&&", "and": "or", "or": "and", "andalso": "orelse"},
    "truth": {"true": "false", "false": "true", "True": "False", "False": "True"}
    | {"TRUE": "FALSE", "FALSE": "TRUE", "#t": "#f", "#f": "#t"},
}
_FUNCTIONS = {"min": "max", "max": "min", "Min": "Max", "Max": "Min", "pmax": "pmin"}
_FUNCTIONS |= {
    "maxOf": "minOf",
    "minOf": "maxOf",
    "fmax": "fmin",
    "Integer'Max": "Integer'Min",
    "'Max": "'Min",
    "'Min": "'Max",
}


def _text(source: str) -> Iterator[Edit]:
    """Edits by rules that hold in many languages: an operator stands between spaces or in front."""
    strings = [found.span() for found in _STRING.finditer(source)]

    def edit(start: int, end: int, text: str, kind: str) -> Edit:
        before = len(source[:start].encode())
        return Edit(before, before + len(source[start:end].encode()), text, kind)

    def matches(pattern: str) -> Iterator[re.Match[str]]:
        for found in re.finditer(pattern, source):
            if not any(start <= found.start() < end for start, end in strings):
                yield found

    for kind, swaps in _SWAPS.items():
        for found in matches(r"(?<![^ (\[\n])[^\s()\[\],;:]+(?![^ )\],;:\n])"):
            if found[0] in swaps:
                # Where the operator stands in front, two equal signs are no name of one.
                text = swaps[found[0]]
                prefixed = text == "==" and source[found.start() - 1 : found.start()] == "("
                yield edit(*found.span(), "=" if prefixed else text, kind)
    for found in matches(r"(?<![\w.$#%@{'])\d+(?![\w.'])"):
        yield edit(*found.span(), str(int(found[0]) + 1), "constant")
        yield edit(*found.span(), str(int(found[0]) + 2), "far constant")
    for found in matches(r"\b(?:" + "|".join(_FUNCTIONS) + r")\b"):
        if found[0] in _FUNCTIONS:
            yield edit(*found.span(), _FUNCTIONS[found[0]], "function")
    for found in matches(r"\+\+"):
        yield edit(*found.span(), "--", "step")
    for start, end in strings:
        yield edit(end - 1, end - 1, "?", "text")
        if end - start > 2:
            yield edit(start + 1, start + 1, "?", "wrong text")
    for found in re.finditer(r"(?m)^[ \t]*(\S.*\S)$", source):
        if _stands_alone(found[1]):
            yield edit(*found.span(1), "", "whole line")


def _stands_alone(line: str) -> bool:
    """Whether a line may be dropped without leaving a bracket or a block open."""
    opens = re.search(r"(\b(do|then|begin|else|end|of|where|let|in)|[{}:=,(\[])$", line)
    pairs = ("()", "[]", "{}")
    return not opens and all(line.count(pair[0]) == line.count(pair[1]) for pair in pairs)
