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
from ab.rollup import LATENCY_MS
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
        told = f"everybody has the candidate; guarded for {seen.gates.ladder.guard_days} whole days"
        yield Finding("flag", State.MISSING, f"{told}, of which {seen.days} are over")


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
    """What is rolled back at once: by its statistics, or as nobody needs statistics to see it.

    The latter also of today alone: what breaks on the last day may not hide behind the others.
    """
    if seen.rung != "nobody":
        yield _errors(seen)
        yield _latency(seen)


def _errors(seen: Evidence) -> Finding:
    guarded, recent, gates = seen.guarded, seen.recent, seen.gates
    share = _share(guarded.failed[1], guarded.requests[1])
    told = f"{share:.1%} of {guarded.requests[1]} requests failed"
    if guarded.requests[0]:
        told += f", of the control's {guarded.failed[0] / guarded.requests[0]:.1%}"
    broken = _exceeds(guarded.failures, gates.errors.margin, EXPECTED_FAILURES, seen)
    for failed, requests in (
        (guarded.failed[1], guarded.requests[1]),
        (recent.failed, recent.requests),
    ):
        enough = requests >= gates.ladder.requests
        broken = broken or (enough and _share(failed, requests) > gates.errors.limit)
    if recent.requests and recent.requests != guarded.requests[1]:
        told += f"; today {_share(recent.failed, recent.requests):.1%} of {recent.requests}"
    return Finding("errors", State.BROKEN if broken else State.PASSED, told)


def _latency(seen: Evidence) -> Finding:
    guarded, recent, gates = seen.guarded, seen.recent, seen.gates
    normal, own = guarded.p95_ms
    if normal is None:
        return Finding("latency", State.PASSED, "the control has no p95 to compare with")
    known = guarded.slow is not None
    broken = _exceeds(guarded.slow, SLOWEST, EXPECTED_SLOW, seen)
    for timed, p95, requests in (
        (known, own, guarded.requests[1]),
        (recent.timed, recent.p95_ms, recent.requests),
    ):
        # More than is counted is at least the last limit.
        far = timed and (p95 if p95 is not None else LATENCY_MS[-1]) > gates.latency.limit * normal
        broken = broken or bool(far and requests >= gates.ladder.requests)
    told = f"p95 {_ms(own, known)} ms, the control's {normal:.0f} ms"
    if recent.timed and recent.requests != guarded.requests[1]:
        told += f"; today {_ms(recent.p95_ms, True)} ms"
    return Finding("latency", State.BROKEN if broken else State.PASSED, told)


def _ms(p95: float | None, known: bool) -> str:
    if p95 is None:
        return f"more than {LATENCY_MS[-1]}" if known else "no"
    return f"{p95:.0f}"


def _share(part: int, whole: int) -> float:
    return part / max(1, whole)


def _exceeds(rate: Rate | None, margin: float, expected: float, seen: Evidence) -> bool:
    if rate is None or rate.users < seen.gates.ladder.users or seen.above is None:
        return False  # nor is there anything to compare with, once everybody has the candidate
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
    if seen.rung == "nobody" or seen.above is None:
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
