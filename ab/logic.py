"""Targeting rules: the part of JsonLogic that flags need, with flagd's four operators.

A rule is JSON: an object with one key is an operator over its arguments, anything else stands for
itself. `check` refuses what `evaluate` does not know, so an evaluation never raises: what cannot be
computed is None, as in flagd. Not here: arithmetic, and operators over lists (map, filter, ...).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ab import buckets, versions
from ab.errors import InvalidFlag

MAX_DEPTH = 32
Context = Mapping[str, Any]


def check(rule: Any, depth: int = 0) -> None:
    """Refuse a rule that cannot be evaluated.

    Raises:
        InvalidFlag: it is too deep, or names an operator that is not known here.
    """
    if depth > MAX_DEPTH:
        raise InvalidFlag("targeting", "...", f"nest at most {MAX_DEPTH} levels")
    if isinstance(rule, Mapping):
        if len(rule) != 1:
            raise InvalidFlag("targeting", dict(rule), "give an object one key, the operator")
        ((operator, arguments),) = rule.items()
        if operator not in _OPERATORS and operator not in _LAZY:
            known = ", ".join(sorted((*_OPERATORS, *_LAZY)))
            raise InvalidFlag("targeting", operator, f"known operators: {known}")
        check(arguments, depth + 1)
    elif isinstance(rule, list):
        for part in rule:
            check(part, depth + 1)


def evaluate(rule: Any, context: Context) -> Any:
    """Value of a checked rule in `context`."""
    if isinstance(rule, Mapping):
        ((operator, arguments),) = rule.items()
        given = arguments if isinstance(arguments, list) else [arguments]
        if operator in _LAZY:
            return _LAZY[operator](given, context)
        return _OPERATORS[operator]([evaluate(part, context) for part in given], context)
    if isinstance(rule, list):
        return [evaluate(part, context) for part in rule]
    return rule


def _if(given: Sequence[Any], context: Context) -> Any:
    for position in range(0, len(given) - 1, 2):
        if evaluate(given[position], context):
            return evaluate(given[position + 1], context)
    return evaluate(given[-1], context) if len(given) % 2 else None


def _and(given: Sequence[Any], context: Context) -> Any:
    value = None
    for part in given:
        value = evaluate(part, context)
        if not value:
            break
    return value


def _or(given: Sequence[Any], context: Context) -> Any:
    value = None
    for part in given:
        value = evaluate(part, context)
        if value:
            break
    return value


def _var(given: Sequence[Any], context: Context) -> Any:
    path = given[0] if given else ""
    default = given[1] if len(given) > 1 else None
    found: Any = context
    for name in str(path).split(".") if path not in ("", None) else ():
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        else:
            return default
    return default if found is None else found


def _strictly_equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _equal(left: Any, right: Any) -> bool:
    """JavaScript's ==: text and truth values are numbers where the other side is one."""
    if left is None or right is None or type(left) is type(right):
        return bool(left == right)
    one, other = _number(left), _number(right)
    return one is not None and one == other


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, bool | int | float | str) else None
    except (ValueError, OverflowError):
        return None


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[Sequence[Any], Context], bool]:
    def run(given: Sequence[Any], context: Context) -> bool:
        del context
        if given and all(isinstance(value, str) for value in given):
            values = list(given)
        else:
            values = [_number(value) for value in given]
        if len(values) < 2 or None in values:
            return False
        return all(test(a, b) for a, b in itertools.pairwise(values))

    return run


def _contains(given: Sequence[Any], context: Context) -> bool:
    del context
    if len(given) != 2:
        return False
    part, whole = given
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    return isinstance(whole, list) and any(_strictly_equal(part, item) for item in whole)


def _cat(given: Sequence[Any], context: Context) -> str:
    del context
    return "".join(_text(value) for value in given)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _fractional(given: Sequence[Any], context: Context) -> Any:
    """Split by a text, or by flag and user if none is given: flagd's arithmetic to the bit."""
    rows = list(given)
    if rows and isinstance(rows[0], str):
        text = rows.pop(0)
    else:
        if rows and rows[0] is None:
            rows.pop(0)
        user = context.get("targetingKey")
        if not isinstance(user, str):
            return None
        text = f"{_var(['$flagd.flagKey'], context) or ''}{user}"
    weights = [_weight(row) for row in rows]
    known = [weight for weight in weights if weight is not None]
    if len(known) < len(weights) or sum(known) > buckets.MAX_TOTAL:
        return None
    chosen = buckets.pick(text, known)
    return None if chosen is None else rows[chosen][0]


def _weight(row: Any) -> int | None:
    """Weight of one row of a split; None if it is malformed."""
    if not isinstance(row, list) or not row:
        return None
    weight = row[1] if len(row) > 1 else None
    if weight is None:
        return 1
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        return None
    if not 0 <= weight <= buckets.MAX_TOTAL or weight != int(weight):
        return None
    return int(weight)


def _sem_ver(given: Sequence[Any], context: Context) -> bool | None:
    del context
    if len(given) != 3 or not all(isinstance(value, str) for value in given):
        return None
    return versions.compare(given[0], given[1], given[2])


def _affix(test: Callable[[str, str], bool]) -> Callable[[Sequence[Any], Context], bool | None]:
    def run(given: Sequence[Any], context: Context) -> bool | None:
        del context
        if len(given) != 2 or not all(isinstance(value, str) for value in given):
            return None
        return test(given[0], given[1])

    return run


def _pair(given: Sequence[Any]) -> tuple[Any, Any]:
    return (given[0] if given else None, given[1] if len(given) > 1 else None)


_LAZY: dict[str, Callable[[Sequence[Any], Context], Any]] = {"if": _if, "and": _and, "or": _or}
_OPERATORS: dict[str, Callable[[Sequence[Any], Context], Any]] = {
    "var": _var,
    "==": lambda given, _: _equal(*_pair(given)),
    "!=": lambda given, _: not _equal(*_pair(given)),
    "===": lambda given, _: _strictly_equal(*_pair(given)),
    "!==": lambda given, _: not _strictly_equal(*_pair(given)),
    "!": lambda given, _: not _pair(given)[0],
    "!!": lambda given, _: bool(_pair(given)[0]),
    "<": _compared(lambda a, b: a < b),
    "<=": _compared(lambda a, b: a <= b),
    ">": _compared(lambda a, b: a > b),
    ">=": _compared(lambda a, b: a >= b),
    "in": _contains,
    "cat": _cat,
    "fractional": _fractional,
    "starts_with": _affix(str.startswith),
    "ends_with": _affix(str.endswith),
    "sem_ver": _sem_ver,
}
