"""Decide about a candidate, keep the decision, and act on it.

A decision is kept before anything is done, whole: `again` makes it anew from what was kept. To act
is to write the flag at the revision that was judged, so of two who decide at once one acts and the
other is refused; the flag's history names the decision. Read `look` first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError

from ab.errors import UnknownFlag
from ab.evidence import Evidence, gather
from ab.gates import Gates
from ab.judgement import Judgement, Verdict, judge
from ab.ladder import NOBODY, Standing, at_rung, standing
from ab.offers import LIVE_S, check
from ab.offline import Evals
from ab.store import Decision, Store, Version
from tabwright.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen at one look, and what it means."""

    version: Version
    stands: Standing
    evidence: Evidence
    judgement: Judgement


def look(
    store: Store, flag: str, candidate: str, gates: Gates, evals: Evals | None, now: float
) -> Looked:
    """Collect the evidence and judge it; nothing is kept.

    Raises:
        UnknownFlag: there is no such flag.
        InvalidFlag: it has no such variant.
        ConfigError: the flag is not one that can be compared.
        StoreAway: the store does not answer.
    """
    history = store.history(flag)
    if not history:
        raise UnknownFlag(f"FLAG: no flag {flag!r}; known: {', '.join(store.flags()) or 'none'}")
    while store.count("tabwright ab"):
        pass
    stands = standing(history, candidate, gates.ladder)
    evidence = gather(store.cells(), history[-1], candidate, stands, gates, evals, now)
    return Looked(history[-1], stands, evidence, judge(evidence))


def keep(store: Store, looked: Looked, who: str, why: str, by_hand: Verdict | None) -> Decision:
    """Keep what was decided. by_hand: what a person does, whatever the judgement.

    Raises:
        StoreAway: it may not be kept.
    """
    evidence = looked.evidence
    verdict = by_hand or looked.judgement.verdict
    body = {
        "evidence": evidence.model_dump(mode="json"),
        "judgement": _told(looked.judgement),
        "by_hand": by_hand is not None,
    }
    written = json.dumps(body, sort_keys=True)
    blank = Decision(
        "", evidence.flag, evidence.candidate, evidence.at, who, why, verdict.value, written
    )
    decision = replace(blank, id=_digest(blank))
    store.record(decision)
    return decision


def act(store: Store, looked: Looked, decision: Decision, now: float) -> Version | None:
    """Raise the candidate a rung, or take it back; None: there is nothing to do.

    Raises:
        StaleRevision: the flag was changed since the look.
        InvalidFlag: a running gateway does not have the candidate.
        ConfigError: the flag's arms cannot reach the rung.
        StoreAway: whether the flag was written is not known.
    """
    rung = looked.stands.above if decision.verdict == Verdict.PROMOTE else NOBODY
    if decision.verdict == Verdict.HOLD or rung is None:
        return None
    flag = looked.version.flag
    ladder = looked.evidence.gates.ladder
    after = at_rung(flag, decision.candidate, looked.stands.control, rung, ladder)
    if after == flag:
        return None
    if rung != NOBODY:
        check(after, store.gateways(now - LIVE_S).values())
    why = f"decision {decision.id}: {decision.verdict}, {rung.name}; {decision.why}".rstrip("; ")
    return store.put(after, looked.version.revision, now, decision.who, why)


def again(decision: Decision) -> tuple[Judgement, list[str]]:
    """Judge the kept evidence anew; tell what is not as it was kept.

    Raises:
        ConfigError: an older release kept other evidence than this one reads.
    """
    differences = []
    if _digest(replace(decision, id="")) != decision.id:
        differences.append("the decision was altered: its id is not its digest")
    try:
        body = json.loads(decision.body)
        evidence = Evidence.model_validate(body["evidence"])
    except (ValueError, KeyError, ValidationError) as error:
        raise ConfigError(f"--replay: {decision.id} cannot be read: {error}") from None
    judgement = judge(evidence)
    if _told(judgement) != body["judgement"]:
        differences.append(f"it was judged {body['judgement']['verdict']} for other reasons")
    if not body["by_hand"] and judgement.verdict != decision.verdict:
        differences.append(f"it was {decision.verdict}, and would be {judgement.verdict} now")
    return judgement, differences


def find(store: Store, name: str) -> Decision:
    """The decision whose id begins with `name`.

    Raises:
        ConfigError: there is none, or more than one.
        StoreAway: the store does not answer.
    """
    found = [decision for decision in store.decisions() if name and decision.id.startswith(name)]
    if len(found) != 1:
        raise ConfigError(f"--replay: {len(found)} decisions begin with {name!r}; give more of one")
    return found[0]


def shown(decision: Decision, whole: bool = True) -> dict[str, Any]:
    """A decision as JSON. whole: with its evidence."""
    told = {name: value for name, value in asdict(decision).items() if name != "body"}
    body = json.loads(decision.body)
    return told | (body if whole else {"by_hand": body["by_hand"]})


def differ(looked: Looked, before: Looked | None) -> bool:
    """Tell whether a look says something else than the last one that was kept."""
    return before is None or _states(looked) != _states(before)


def _states(looked: Looked) -> tuple[object, ...]:
    states = [(finding.gate, finding.state) for finding in looked.judgement.findings]
    return (looked.version.revision, looked.judgement.verdict, *states)


def _told(judgement: Judgement) -> Any:
    return json.loads(json.dumps(asdict(judgement)))


def _digest(decision: Decision) -> str:
    text = json.dumps(asdict(decision), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
