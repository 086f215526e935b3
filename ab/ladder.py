"""Where a candidate stands on its way to everybody, read from its flag, and how it moves on.

    nobody -> internal users, by overrides -> percents of users -> everybody, by default

The flag is the only state: whoever has written it last is right, and a stale write is refused. A
rung is the share of users who have the candidate. Raising it widens the rollout, so those who have
the candidate keep it. Decides nothing: `ab.judgement` does. Read `at_rung` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ab.flags import WHOLE, Arm, Flag, Rollout
from ab.gates import Ladder
from ab.store import Version
from tabwright.errors import ConfigError

_EVEN = 1e-6


class Rung(NamedTuple):
    """A step. percent: of users who have the candidate by chance, or by default at 100."""

    name: str
    percent: float


NOBODY, INTERNAL = Rung("nobody", 0.0), Rung("internal", 0.0)


class Standing(NamedTuple):
    """Where a candidate stands. above: None at the top. began: when it came there, first: when its
    first user got it; both in seconds since 1970. rolled_back: it was higher before.
    """

    control: str
    rung: Rung
    above: Rung | None
    began: float
    first: float
    rolled_back: bool


def standing(history: Sequence[Version], candidate: str, ladder: Ladder) -> Standing:
    """Read where `candidate` stands from all versions of its flag, oldest first.

    Raises:
        InvalidFlag: the flag has no such variant.
        ConfigError: it is the default and never was another one, or users are targeted.
    """
    flag = history[-1].flag
    flag.check_variant("candidate", candidate)
    control = _control(history, candidate)
    if flag.targeting is not None:
        raise ConfigError(
            f"{flag.key}: who is targeted is not chosen by chance, so nothing can be compared; "
            "take the targeting away, or try the candidate by another flag"
        )
    rungs = [_rung(version.flag, candidate) for version in history]
    exposed = [rung != NOBODY for rung in rungs]
    began = _first_of_last_run([_chances(version.flag, candidate) for version in history])
    return Standing(
        control,
        rungs[-1],
        _above(rungs[-1], ladder),
        history[began].at,
        history[_first_of_last_run(exposed)].at,
        any(exposed) and not exposed[-1],
    )


def at_rung(flag: Flag, candidate: str, control: str, rung: Rung, ladder: Ladder) -> Flag:
    """Put the flag at `rung`.

    Raises:
        ConfigError: the arms of its rollout do not give the candidate to so many users.
    """
    if rung == NOBODY:
        return _taken_back(flag, candidate, control)
    own = {user: candidate for user in ladder.internal if user not in flag.overrides}
    raised = replace(flag, overrides={**flag.overrides, **own})
    if rung == INTERNAL:
        return raised
    if rung.percent == 100:
        return replace(raised, default_variant=candidate, rollout=None)
    rollout = flag.rollout
    if rollout is None or not any(arm.variant == candidate for arm in rollout.arms):
        rollout = Rollout(0, (Arm(candidate, 1),), flag.key)
    weight = _weight(rollout, candidate)
    share = round(rung.percent * WHOLE / 100 / weight) if weight else WHOLE + 1
    if share > WHOLE:
        raise ConfigError(
            f"{flag.key}: its arms give {candidate} to no more than "
            f"{100 * weight:g} % of users; {rung.name} cannot be reached"
        )
    return replace(raised, rollout=replace(rollout, share=share))


def percent(flag: Flag, candidate: str) -> float:
    """Share of users who have the candidate by chance or by default, in percent."""
    if not flag.enabled:
        return 0.0
    whole = 100.0 if flag.default_variant == candidate else 0.0
    if flag.rollout is None:
        return whole
    reached = flag.rollout.share * 100 / WHOLE
    return reached * _weight(flag.rollout, candidate) + whole * (1 - reached / 100)


def _rung(flag: Flag, candidate: str) -> Rung:
    share = percent(flag, candidate)
    if share > 0:
        return Rung(f"{share:g} %", share)
    return INTERNAL if flag.enabled and candidate in flag.overrides.values() else NOBODY


def _above(rung: Rung, ladder: Ladder) -> Rung | None:
    if rung == NOBODY and ladder.internal:
        return INTERNAL
    higher = [part for part in ladder.rungs if part > rung.percent + _EVEN]
    return Rung(f"{higher[0]:g} %", higher[0]) if higher else None


def _chances(flag: Flag, candidate: str) -> tuple[object, ...]:
    """What decides who gets what; overrides do until there is a rollout."""
    rung = _rung(flag, candidate)
    return (rung, flag.rollout if rung.percent else None, flag.default_variant, flag.slot)


def _first_of_last_run(values: Sequence[object]) -> int:
    """Index from which on all values equal the last one."""
    place = len(values) - 1
    while place > 0 and values[place - 1] == values[-1]:
        place -= 1
    return place


def _control(history: Sequence[Version], candidate: str) -> str:
    for version in reversed(history):
        if version.flag.default_variant != candidate:
            return version.flag.default_variant
    raise ConfigError(
        f"{history[-1].flag.key}: {candidate} has always been the default, there is nothing to "
        "compare it with"
    )


def _taken_back(flag: Flag, candidate: str, control: str) -> Flag:
    flag.check_variant("control", control)
    kept = {user: variant for user, variant in flag.overrides.items() if variant != candidate}
    rollout = flag.rollout
    if rollout is not None and any(arm.variant == candidate for arm in rollout.arms):
        rollout = replace(rollout, share=0)
    return replace(flag, overrides=kept, default_variant=control, rollout=rollout)


def _weight(rollout: Rollout, variant: str) -> float:
    total = sum(arm.weight for arm in rollout.arms)
    return sum(arm.weight for arm in rollout.arms if arm.variant == variant) / total
