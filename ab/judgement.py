"""PROMOTE, HOLD or ROLL_BACK, from evidence alone: equal evidence, equal judgement.

    every gate passed           PROMOTE
    a gate is broken            ROLL_BACK, if anybody has the candidate
    else                        HOLD, with what is missing and how long that will take

Each gate may be asked at every look. That all have to pass takes no correction for their number:
the chance that a candidate that fails one of them passes all is that of passing this one. Read
`judge` first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ab.evidence import SLOWEST, Evidence, Look, Rate, Seen
from ab.gates import Metric
from ab.report import METRICS
from ab.significance import always_valid, mismatch_p

EXPECTED_FAILURES, EXPECTED_SLOW = 0.02, 0.05
_FORESEEN_DAYS = 365


class Verdict(StrEnum):
    """What is to be done with a candidate."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    ROLL_BACK = "ROLL_BACK"


class State(StrEnum):
    """What a gate says."""

    PASSED = "passed"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate says, in words. days: until it passes as things go; None: not known."""

    gate: str
    state: State
    told: str
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """days: until all gates pass as things go; None: not known, or nothing is missing."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    days: int | None


def judge(seen: Evidence) -> Judgement:
    """Decide."""
    findings = (*_state(seen), _offline(seen), *_guardrails(seen), *_online(seen), *_traffic(seen))
    states = {finding.state for finding in findings}
    missing = [finding.days for finding in findings if finding.state is State.MISSING]
    known = [days for days in missing if days is not None]
    days = max(known) if known and len(known) == len(missing) else None
    if State.BROKEN in states:
        exposed = seen.rung != "nobody" and seen.enabled
        return Judgement(Verdict.ROLL_BACK if exposed else Verdict.HOLD, findings, None)
    return Judgement(Verdict.HOLD if missing else Verdict.PROMOTE, findings, days)


def _state(seen: Evidence) -> Iterator[Finding]:
    """What makes any other question idle."""
    if not seen.enabled:
        yield Finding("flag", State.MISSING, "the flag is disabled: everybody has its default")
    if seen.rolled_back:
        told = "the candidate was rolled back; only `promote --force` begins again"
        yield Finding("flag", State.MISSING, told)
    if seen.above is None:
        yield Finding("flag", State.MISSING, "everybody has the candidate, there is no rung above")


def _offline(seen: Evidence) -> Finding:
    rules = seen.gates.offline
    if seen.evals is None:
        state = State.MISSING if rules.needed else State.PASSED
        return Finding("pass@k", state, "not given; --evals CONTROL CANDIDATE, two runs of evalkit")
    found = seen.evals.compared()
    change = found.difference
    told = (
        f"pass@{seen.evals.k} {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}] over "
        f"{found.tasks} tasks; it may fall by {rules.margin:g}"
    )
    if change.high < -rules.margin:
        return Finding("pass@k", State.BROKEN, told)
    if found.tasks < rules.tasks:
        return Finding("pass@k", State.MISSING, f"{told}; it takes {rules.tasks} tasks")
    return Finding("pass@k", _passed(found.non_inferior(rules.margin)), told)


def _guardrails(seen: Evidence) -> Iterator[Finding]:
    """What is rolled back at once: by its statistics, or because nobody needs statistics to see."""
    if seen.rung == "nobody":
        return
    guarded, gates = seen.guarded, seen.gates
    enough = guarded.requests[1] >= gates.ladder.requests
    share = guarded.failed[1] / max(1, guarded.requests[1])
    worse = _exceeds(guarded.failures, gates.errors.margin, EXPECTED_FAILURES, seen)
    told = f"{share:.1%} of {guarded.requests[1]} requests failed"
    if guarded.requests[0]:
        told += f", of the control's {guarded.failed[0] / guarded.requests[0]:.1%}"
    broken = worse or (enough and share > gates.errors.limit)
    yield Finding("errors", State.BROKEN if broken else State.PASSED, told)
    normal, own = guarded.p95_ms
    if normal is None:
        yield Finding("latency", State.PASSED, "the control has no p95 to compare with")
        return
    known = guarded.slow is not None
    slow = _exceeds(guarded.slow, SLOWEST, EXPECTED_SLOW, seen)
    # More than is counted is at least the last limit.
    far = known and (own if own is not None else 2000.0) > gates.latency.limit * normal
    shown = "more than 2000" if own is None and known else "no" if own is None else f"{own:.0f}"
    told = f"p95 {shown} ms, the control's {normal:.0f} ms"
    yield Finding("latency", State.BROKEN if slow or (enough and far) else State.PASSED, told)


def _exceeds(rate: Rate | None, margin: float, expected: float, seen: Evidence) -> bool:
    if rate is None or rate.users < seen.gates.ladder.users:
        return False
    low = always_valid(rate.value, rate.variance, expected, seen.gates.alpha).low
    return low > margin


def _online(seen: Evidence) -> Iterator[Finding]:
    """The split, and then the metrics, if it is sound."""
    if seen.weights is None:
        return
    p_value = mismatch_p(seen.users, seen.weights)
    told = f"{seen.users[0]} and {seen.users[1]} users, planned {_ratio(seen.weights)}"
    sound = p_value >= seen.gates.split.p
    yield Finding("split", _passed(sound), told + ("" if sound else f": p = {p_value:.2g}"))
    if sound:
        for name, rule in seen.gates.metrics.items():
            yield _metric(name, rule, seen)


def _metric(name: str, rule: Metric, seen: Evidence) -> Finding:
    proof = seen.percent >= seen.gates.ladder.proof_from
    found = seen.metrics.get(name)
    if found is None:
        state = _passed(rule.optional or not proof)
        return Finding(name, state, "nothing, or nothing that differs, to compare")
    if min(found.users) < seen.gates.ladder.users:
        told = f"{min(found.users)} users in an arm; it takes {seen.gates.ladder.users}"
        return Finding(name, _passed(not proof), told)
    return _metric_finding(name, rule, found, proof, seen.gates.alpha)


def metric_state(name: str, rule: Metric, found: Seen, proof: bool, alpha: float) -> State:
    """What a metric says. proof: it has to be shown; or else it may not be shown to be worse."""
    least = -rule.margin * found.control
    now = found.looks[-1]
    low, high = always_valid(now.difference, now.variance, METRICS[name].expected, alpha)
    if high < least:
        return State.BROKEN
    return _passed(low > least or not proof)


def _metric_finding(name: str, rule: Metric, found: Seen, proof: bool, alpha: float) -> Finding:
    state = metric_state(name, rule, found, proof, alpha)
    least = -rule.margin * found.control
    now, expected = found.looks[-1], METRICS[name].expected
    low, high = always_valid(now.difference, now.variance, expected, alpha)
    wanted = f"has to be above {least:+.4g}" if least else "has to be better"
    told = f"{now.difference:+.4g} [{low:+.4g}, {high:+.4g}] from {found.control:.4g}; {wanted}"
    if state is not State.MISSING:
        return Finding(name, state, told)
    days = _days_until(found.looks, least, expected, alpha)
    if now.difference <= least:
        told += "; as it looks it is not"
    elif days is None:
        told += "; with these users it will not be shown in a year"
    return Finding(name, state, told, days)


def _days_until(looks: tuple[Look, ...], least: float, expected: float, alpha: float) -> int | None:
    """Days until the interval is above `least`, if the difference stays what it is.

    What users have in common with themselves does not average out with days: the variance is taken
    as a part that stays and a part that falls with them, from two looks.
    """
    now, before = looks[-1], looks[0]
    falls = now.variance * now.days
    if before.days < now.days:
        falls = (before.variance - now.variance) / (1 / before.days - 1 / now.days)
        falls = min(max(falls, 0.0), now.variance * now.days)
    stays = now.variance - falls / now.days
    for more in range(1, _FORESEEN_DAYS + 1):
        variance = stays + falls / (now.days + more)
        if variance > 0 and always_valid(now.difference, variance, expected, alpha).low > least:
            return more
    return None


def _traffic(seen: Evidence) -> Iterator[Finding]:
    """Days and requests on the rung."""
    if seen.rung == "nobody":
        return
    ladder = seen.gates.ladder
    days = ladder.proof_days if seen.percent >= ladder.proof_from else ladder.days
    left = days - seen.days
    told = f"{seen.days} whole days (UTC) on this rung; it takes {days}"
    yield Finding("time", _passed(left <= 0), told, left if left > 0 else None)
    requests = seen.guarded.requests[1]
    lacking = ladder.requests - requests
    told = f"{requests} requests by the candidate; it takes {ladder.requests}"
    needed = math.ceil(lacking * seen.hours / 24 / requests) if lacking > 0 and requests else None
    yield Finding("requests", _passed(lacking <= 0), told, needed)


def _passed(passed: bool) -> State:
    return State.PASSED if passed else State.MISSING


def _ratio(weights: tuple[float, float]) -> str:
    return f"{weights[0]:g}:{weights[1]:g}"
