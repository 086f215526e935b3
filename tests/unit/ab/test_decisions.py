"""What is decided about a candidate follows from what was seen, is kept, and can be done again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ab import decisions
from ab.decisions import Looked
from ab.errors import InvalidFlag, StaleRevision, UnknownFlag
from ab.flags import Arm, Flag, Rollout
from ab.gates import Gates, load_gates
from ab.judgement import Judgement, State, Verdict
from ab.offline import Evals, read_evals
from ab.rollup import Cell, Counts
from ab.stores.sqlite import SqliteStore
from tabwright.errors import ConfigError
from tests.unit.ab.ladder_cells import NOW, Team, day_of, days_ago

GATES = load_gates()
OLD = Flag("model", {"old": "m1", "new": "m2"}, "old")


class Counted(SqliteStore):
    """A store in which `given` was counted."""

    given: list[tuple[Cell, Counts]]

    def cells(self) -> Iterator[tuple[Cell, Counts]]:
        return iter(self.given)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Counted]:
    made = Counted(str(tmp_path / "ab.sqlite"))
    made.given = []
    yield made
    made.close()


@pytest.fixture
def evals(tmp_path: Path) -> Evals:
    return runs(tmp_path, 0.6, 0.62)


def runs(folder: Path, control: float, candidate: float, tasks: int = 200) -> Evals:
    """Two runs that passed such shares of their tasks; the candidate the same ones and others."""
    for name, share in (("control", control), ("candidate", candidate)):
        rows = {f"t{n}": {"passed": int(n < share * tasks), "failed": int(n >= share * tasks)}
                for n in range(tasks)}  # fmt: skip
        report = {"benchmark": "humaneval", "languages": {"python": {"by_task": rows}}}
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "report.json").write_text(json.dumps(report))
    return read_evals(folder / "control", folder / "candidate", 1)


def at(share: float) -> Flag:
    return replace(OLD, rollout=Rollout(round(share * 1000), (Arm("new", 1),), "model"))


def stood(store: Counted, share: float, days: float, team: Team) -> None:
    """Let the candidate have stood for `days` at `share` percent."""
    flag = at(share)
    store.put(OLD, 0, days_ago(60), "ada", "")
    store.put(flag, 1, days_ago(days), "ada", "begin")
    since = day_of(days_ago(days))
    store.given = team.cells(flag, since, (day_of(NOW) - since).days + 1)


def look(store: Counted, evals: Evals | None, gates: Gates = GATES) -> Looked:
    return decisions.look(store, "model", "new", gates, evals, NOW)


def states(judgement: Judgement) -> dict[str, State]:
    return {finding.gate: finding.state for finding in judgement.findings}


def test_nobody_gets_a_candidate_without_pass_at_k(store: Counted, tmp_path: Path) -> None:
    store.put(OLD, 0, days_ago(1), "ada", "")
    assert look(store, None).judgement.verdict is Verdict.HOLD
    good = look(store, runs(tmp_path, 0.6, 0.6))
    assert good.judgement.verdict is Verdict.PROMOTE
    few = look(store, runs(tmp_path, 0.6, 0.6, tasks=99)).judgement
    assert (few.verdict, states(few)["pass@k"]) == (Verdict.HOLD, State.MISSING)
    bad = look(store, runs(tmp_path, 0.6, 0.4)).judgement
    assert (bad.verdict, states(bad)["pass@k"]) == (Verdict.HOLD, State.BROKEN)


def test_a_better_candidate_is_proven_and_promoted_to_everybody(
    store: Counted, evals: Evals
) -> None:
    stood(store, 50, 9, Team(lift=0.25))
    looked = look(store, evals)
    assert set(states(looked.judgement).values()) == {State.PASSED}
    kept = decisions.keep(store, looked, "eve", "", None)
    written = decisions.act(store, looked, kept, NOW)
    assert written is not None
    assert (written.flag.default_variant, written.flag.rollout) == ("new", None)
    assert (written.who, written.why) == ("eve", f"decision {kept.id}: PROMOTE, 100 %")


def test_an_equal_candidate_is_held_and_told_how_long_that_may_take(
    store: Counted, evals: Evals
) -> None:
    stood(store, 50, 9, Team(lift=0.02, seed=3))
    judgement = look(store, evals).judgement
    assert judgement.verdict is Verdict.HOLD
    assert states(judgement)["acceptance"] is State.MISSING
    finding = next(f for f in judgement.findings if f.gate == "acceptance")
    assert "has to be better" in finding.told
    tolerant = GATES.model_copy(
        update={"metrics": {"acceptance": GATES.metrics["kept after 10 min"]}}
    )
    assert look(store, evals, tolerant).judgement.verdict is Verdict.PROMOTE


def test_below_the_rung_of_proof_an_equal_candidate_goes_on_after_a_day(
    store: Counted, evals: Evals
) -> None:
    stood(store, 10, 2, Team())
    assert look(store, evals).judgement.verdict is Verdict.PROMOTE
    stood_today = decisions.look(store, "model", "new", GATES, evals, days_ago(1.5))
    assert states(stood_today.judgement)["time"] is State.MISSING
    assert stood_today.judgement.days == 1


@pytest.mark.parametrize(
    ("team", "gate"),
    [
        (Team(lift=-0.3), "acceptance"),
        (Team(slowdown=2.2), "latency"),
        (Team(failing=0.05), "errors"),
    ],
)
def test_what_breaks_a_gate_is_rolled_back(
    store: Counted, evals: Evals, team: Team, gate: str
) -> None:
    stood(store, 25, 4, team)
    looked = look(store, evals)
    assert looked.judgement.verdict is Verdict.ROLL_BACK
    assert [name for name, s in states(looked.judgement).items() if s is State.BROKEN] == [gate]
    kept = decisions.keep(store, looked, "eve", "", None)
    written = decisions.act(store, looked, kept, NOW)
    assert written is not None
    assert written.flag.rollout == replace(at(25).rollout or Rollout(0, (), ""), share=0)
    after = look(store, evals).judgement
    assert (after.verdict, states(after)["flag"]) == (Verdict.HOLD, State.MISSING)


@pytest.mark.parametrize(
    ("team", "gate"),
    [(Team(users=6, failing=0.5), "errors"), (Team(users=6, slowdown=9), "latency")],
)
def test_what_nobody_needs_statistics_for_is_rolled_back_on_the_first_day(
    store: Counted, evals: Evals, team: Team, gate: str
) -> None:
    few = GATES.model_copy(update={"ladder": GATES.ladder.model_copy(update={"requests": 20})})
    stood(store, 50, 0.1, team)
    judgement = look(store, evals, few).judgement
    assert (judgement.verdict, states(judgement)[gate]) == (Verdict.ROLL_BACK, State.BROKEN)


@pytest.mark.parametrize(
    ("team", "gate"), [(Team(failing=0.3), "errors"), (Team(slowdown=9), "latency")]
)
def test_what_everybody_has_is_guarded_still(
    store: Counted, evals: Evals, team: Team, gate: str
) -> None:
    store.put(at(50), 0, days_ago(20), "ada", "")
    everybody = replace(OLD, default_variant="new")
    store.put(everybody, 1, days_ago(3), "ada", "all gates")
    began = day_of(days_ago(2))
    store.given = Team().cells(everybody, began, 3)
    fine = look(store, evals).judgement
    assert (fine.verdict, set(states(fine))) == (
        Verdict.HOLD,
        {"flag", "pass@k", "errors", "latency"},
    )
    assert states(fine)[gate] is State.PASSED
    store.given = Team().cells(everybody, began, 2) + team.cells(everybody, day_of(NOW), 1, 0)
    looked = look(store, evals)
    assert (looked.judgement.verdict, states(looked.judgement)[gate]) == (
        Verdict.ROLL_BACK,
        State.BROKEN,
    )
    kept = decisions.keep(store, looked, "watch", "", None)
    written = decisions.act(store, looked, kept, NOW)
    assert written is not None
    assert written.flag.default_variant == "old"
    assert decisions.again(kept)[1] == []


def test_what_breaks_today_does_not_hide_behind_the_days_before(
    store: Counted, evals: Evals
) -> None:
    stood(store, 25, 6, Team(users=60))
    few = GATES.model_copy(update={"ladder": GATES.ladder.model_copy(update={"users": 10**6})})
    assert states(look(store, evals, few).judgement)["errors"] is State.PASSED
    whole = [row for row in store.given if row[0].day < day_of(NOW).isoformat()]
    store.given = whole + Team(users=60, failing=0.3).cells(at(25), day_of(NOW), 1, 0)
    judgement = look(store, evals, few).judgement
    assert (judgement.verdict, states(judgement)["errors"]) == (Verdict.ROLL_BACK, State.BROKEN)


def test_internal_users_are_guarded_and_kept_out_of_the_statistics(
    store: Counted, evals: Evals
) -> None:
    flag = replace(OLD, overrides={f"u{n}": "new" for n in range(8)})
    store.put(flag, 0, days_ago(2), "ada", "")
    day = day_of(days_ago(2))
    store.given = Team(failing=0.5).cells(flag, day, 3)
    judgement = look(store, evals).judgement
    assert (judgement.verdict, states(judgement)["errors"]) == (Verdict.ROLL_BACK, State.BROKEN)
    raised = replace(at(50), overrides=flag.overrides)
    store.put(raised, 1, days_ago(1.9), "ada", "")
    store.given = Team().cells(raised, day, 3)
    assert sum(look(store, evals).evidence.users) == 292


def test_days_before_end_where_the_first_user_got_the_candidate(
    store: Counted, evals: Evals
) -> None:
    """Days between that and this rung are neither: some users had the candidate already."""
    for revision, (flag, days) in enumerate([(OLD, 60), (at(40), 30), (at(50), 9)]):
        store.put(flag, revision, days_ago(days), "ada", "")
    first = day_of(days_ago(30))
    whole = Team(lift=0.3).cells(at(50), first, 31)
    store.given = whole
    seen = look(store, evals).evidence.metrics["acceptance"].looks[-1]
    store.given = [row for row in whole if row[0].day >= first.isoformat()]
    without = look(store, evals).evidence.metrics["acceptance"].looks[-1]
    assert without.variance > 2 * seen.variance
    since = day_of(days_ago(8)).isoformat()
    store.given = [row for row in whole if row[0].day < first.isoformat() or row[0].day >= since]
    assert look(store, evals).evidence.metrics["acceptance"].looks[-1] == seen


def test_a_split_that_was_not_planned_holds_but_guardrails_still_hold_too(
    store: Counted, evals: Evals
) -> None:
    stood(store, 50, 9, Team(lift=0.3))
    store.given = [
        row for row in store.given if row[0].variant == "new" or int(row[0].user[1:]) < 80
    ]
    judgement = look(store, evals).judgement
    assert (judgement.verdict, states(judgement)["split"]) == (Verdict.HOLD, State.MISSING)
    assert "acceptance" not in states(judgement)


def test_of_two_who_decide_at_once_one_acts(store: Counted, evals: Evals, tmp_path: Path) -> None:
    stood(store, 10, 2, Team())
    others = [Counted(str(tmp_path / "ab.sqlite")) for _ in range(4)]
    for other in others:
        other.given = store.given
    looks = [look(other, evals) for other in others]

    def run(place: int) -> bool:
        kept = decisions.keep(others[place], looks[place], f"watch {place}", "", None)
        try:
            return decisions.act(others[place], looks[place], kept, NOW) is not None
        except StaleRevision:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == [False, False, False, True]
    for other in others:
        other.close()
    assert len(store.decisions("model")) == 4
    assert store.history("model")[-1].revision == 3


def test_a_decision_can_be_made_again_when_the_counts_are_gone(
    store: Counted, evals: Evals
) -> None:
    stood(store, 50, 9, Team(lift=0.25))
    kept = decisions.keep(store, look(store, evals), "eve", "it is time", None)
    store.given = []
    found = decisions.find(store, kept.id[:8])
    judgement, differences = decisions.again(found)
    assert (judgement.verdict, differences) == (Verdict.PROMOTE, [])
    assert "u1" not in found.body
    worse = found.body.replace('"difference": 0.', '"difference": -0.')
    _, told = decisions.again(replace(found, body=worse))
    assert "altered" in told[0]
    assert "would be ROLL_BACK" in told[-1]
    with pytest.raises(ConfigError, match="cannot be read"):
        decisions.again(replace(found, body="{}"))
    with pytest.raises(ConfigError, match="0 decisions"):
        decisions.find(store, "zzz")


def test_a_candidate_that_no_gateway_has_is_not_raised(store: Counted, evals: Evals) -> None:
    store.put(OLD, 0, days_ago(1), "ada", "")
    store.announce("g1", {"model": ["m1"]}, NOW)
    looked = look(store, evals)
    kept = decisions.keep(store, looked, "eve", "", None)
    with pytest.raises(InvalidFlag, match="knows m1 only"):
        decisions.act(store, looked, kept, NOW)


def test_an_unknown_flag_is_told(store: Counted) -> None:
    with pytest.raises(UnknownFlag, match="known: none"):
        look(store, None)


def test_a_forecast_of_traffic_follows_from_the_traffic_so_far(
    store: Counted, evals: Evals
) -> None:
    stood(store, 50, 2.5, Team(users=40))
    wanting = GATES.model_copy(
        update={"ladder": GATES.ladder.model_copy(update={"requests": 10**5, "proof_days": 1})}
    )
    finding = next(
        f for f in look(store, evals, wanting).judgement.findings if f.gate == "requests"
    )
    seen = look(store, evals).evidence.guarded.requests[1]
    assert finding.days == pytest.approx((10**5 - seen) * 2.5 / seen, abs=1)
    assert timedelta(days=finding.days or 0) > timedelta(days=30)
