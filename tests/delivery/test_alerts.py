"""Rules on records: when an alert is raised, and when not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.alerts import Alert, AlertRule, AlertWatch, RuleKind
from app.domain import AbstainReason, CallStart, Leg, UtteranceRecord
from app.policy import PolicyConfig, ScoringPurpose, decide
from tests.delivery.parts import said

ANGER = AlertRule("ar_1", RuleKind.EMOTION, 0.6, emotion="anger", for_s=10.0)
COST = AlertRule("ar_2", RuleKind.EXPECTED_COST, 5.0)
VALENCE = AlertRule("ar_3", RuleKind.VALENCE, -0.5, for_s=10.0)


def watch(
    *records: UtteranceRecord, rules: tuple[AlertRule, ...] = (ANGER,), team: str | None = None
) -> list[Alert]:
    """The alerts of a call with these records."""
    state = AlertWatch("sales", team)
    return [alert for record in records for alert in state.on_record(record, rules)]


def seqs(*records: UtteranceRecord, **options: Any) -> list[int]:
    """Which records raised an alert."""
    return [alert.seq for alert in watch(*records, **options)]


def test_an_alert_is_raised_when_the_speech_of_a_run_adds_up() -> None:
    """Utterances of 5 s: the second makes 10 s."""
    assert seqs(said(1)) == []
    assert seqs(said(1), said(2)) == [2]


def test_a_run_raises_one_alert() -> None:
    """However long it lasts; another run raises another."""
    assert seqs(*(said(n) for n in range(1, 9))) == [2]
    calm = said(4, score=0.59)
    assert seqs(said(1), said(2), said(3), calm, said(5), said(6)) == [2, 6]


def test_a_score_at_the_bound_counts() -> None:
    """At least `min_score`; an expected cost must be above, a valence below."""
    assert seqs(said(1, score=0.6), said(2, score=0.6)) == [2]
    assert seqs(said(1, expected_cost=5.0), said(2, expected_cost=5.1), rules=(COST,)) == [2]
    low = [said(n, valence=-0.5) for n in (1, 2)] + [said(n, valence=-0.51) for n in (3, 4)]
    assert seqs(*low, rules=(VALENCE,)) == [4]


def test_records_abstained_on_neither_count_nor_end_a_run() -> None:
    """The alert says how many were passed over: nothing is silent."""
    unsure = said(2, reason=AbstainReason.UNCERTAIN)
    noisy = said(3, reason=AbstainReason.TOO_NOISY, scores=None)
    (alert,) = watch(said(1), unsure, noisy, said(4))
    assert (alert.seq, alert.utterances, alert.abstained, alert.speech_s) == (4, 2, 2, 10.0)
    assert watch(unsure, noisy) == []
    assert watch(unsure, said(3), said(4))[0].abstained == 0


def test_a_run_ends_where_nothing_scored_is_heard_for_long() -> None:
    """Silence and abstentions do not keep it alive for ever."""
    late = replace(said(2), start_s=11.0 + 60.1, end_s=11.0 + 65.1)
    in_time = replace(said(2), start_s=11.0 + 60.0, end_s=11.0 + 65.0)
    assert seqs(said(1), late) == []
    assert seqs(said(1), in_time) == [2]


def test_legs_have_runs_of_their_own() -> None:
    """What one side says does not count for the other."""
    other = said(2, leg=Leg.MIXED)
    assert seqs(said(1), other) == []
    assert seqs(said(1), other, said(3)) == [3]
    only_mixed = replace(ANGER, leg=Leg.MIXED)
    assert seqs(said(1), said(2), rules=(only_mixed,)) == []


def test_a_rule_cools_down() -> None:
    """Two alerts of it in a leg are so far apart at least; a run that lasts longer is raised then."""
    rule = replace(COST, cooldown_s=20.0)
    dear, cheap = {"expected_cost": 9.0}, {"expected_cost": 1.0}
    records = [
        said(1, **dear),
        said(2, **cheap),
        said(3, **dear),
        said(4, **dear),
        said(5, **dear),
        said(6, **dear),
    ]
    assert seqs(*records, rules=(COST,)) == [1, 3]
    # Raised at 11 s; 23 s and 29 s are too early, 35 s is not.
    assert seqs(*records, rules=(rule,)) == [1, 5]


def test_rules_hold_where_they_say() -> None:
    """Line and team."""
    records = (said(1), said(2))
    assert seqs(*records, rules=(replace(ANGER, line="sales"),)) == [2]
    assert seqs(*records, rules=(replace(ANGER, line="help"),)) == []
    assert seqs(*records, rules=(replace(ANGER, team="north"),)) == []
    assert seqs(*records, rules=(replace(ANGER, team="north"),), team="north") == [2]
    assert seqs(*records, rules=(replace(ANGER, enabled=False),)) == []


def test_a_category_that_the_head_lacks_raises_nothing() -> None:
    """And is no error."""
    assert seqs(said(1), said(2), rules=(replace(ANGER, emotion="boredom"),)) == []


def test_agents_whose_scoring_is_not_lawful_raise_nothing() -> None:
    """Policy withholds their scores; with a lawful purpose they are as anybody."""
    start = CallStart("call-1", None)  # type: ignore[arg-type]
    verdict = decide(Leg.AGENT, start, PolicyConfig())
    assert verdict.reason is AbstainReason.POLICY
    rules = (replace(ANGER, for_s=0.0), replace(COST, bound=0.0), replace(VALENCE, for_s=0.0, bound=1.0))
    unlawful = [said(n, leg=Leg.AGENT, reason=verdict.reason) for n in range(1, 5)]
    assert watch(*unlawful, rules=rules) == []
    assert decide(Leg.AGENT, start, PolicyConfig(ScoringPurpose.SAFETY)).scored
    lawful = [said(1, leg=Leg.AGENT, expected_cost=1.0)]
    assert len(watch(*lawful, rules=rules)) == 3


def test_a_record_counts_once() -> None:
    """One that comes again changes nothing."""
    assert seqs(said(1), said(1), said(1)) == []
    state = AlertWatch("sales", None)
    assert [state.on_record(record, (ANGER,)) != [] for record in (said(1), said(2), said(2))] == [
        False,
        True,
        False,
    ]


def test_a_change_of_a_rule_holds_from_the_next_record_on() -> None:
    """It begins anew; a new name is no change; other rules go on."""
    state = AlertWatch("sales", None)
    assert state.on_record(said(1), (ANGER, VALENCE)) == []
    named = replace(ANGER, name="furious")
    (raised,) = state.on_record(said(2), (named, VALENCE))
    assert raised.rule.name == "furious"
    stricter = replace(ANGER, bound=0.65)
    assert state.on_record(said(3), (stricter,)) == []
    assert [one.rule.bound for one in state.on_record(said(4), (stricter,))] == [0.65]
    assert state.on_record(said(5), ()) == []
    assert state.on_record(said(6), (ANGER,)) == []


def test_what_an_alert_says() -> None:
    """Its id is the same however often it is evaluated."""
    (alert,) = watch(said(1), said(2, score=0.9), team="north")
    assert alert.body() == {
        "id": "ar_1:call-1:2",
        "rule_id": "ar_1",
        "rule_name": "",
        "kind": "emotion",
        "emotion": "anger",
        "bound": 0.6,
        "for_s": 10.0,
        "call_id": "call-1",
        "leg": "customer",
        "line": "sales",
        "team": "north",
        "seq": 2,
        "utterance_id": "call-1.customer.0002",
        "at": "2023-11-14T22:13:20.000Z",
        "value": 0.9,
        "started_s": 6.0,
        "ended_s": 17.0,
        "speech_s": 10.0,
        "utterances": 2,
        "abstained": 0,
    }
    assert watch(said(1), said(2, score=0.9))[0].id == alert.id


@pytest.mark.parametrize(
    "rule", [ANGER, COST, replace(VALENCE, leg=Leg.CUSTOMER, line="a", team="b", name="n")]
)
def test_a_rule_comes_back_from_its_body(rule: AlertRule) -> None:
    """Every member."""
    again = AlertRule.from_body(rule.id, rule.body())
    assert again == rule
    assert again.name == rule.name


@given(st.lists(st.tuples(st.sampled_from(["hot", "cold", "abstained"]), st.floats(0.1, 10.0)), max_size=40))
def test_alerts_are_as_many_as_long_runs(spoken: list[tuple[str, float]]) -> None:
    """Held against a second reading of the rule: runs of hot speech, abstentions left out, of at least 10 s."""
    records, clock, expected, run = [], 0.0, 0, 0.0
    for number, (kind, seconds) in enumerate(spoken, start=1):
        record = said(number, score=0.9 if kind == "hot" else 0.1)
        if kind == "abstained":
            record = said(number, reason=AbstainReason.UNCERTAIN)
        records.append(replace(record, start_s=clock, end_s=clock + seconds))
        clock += seconds
        if kind == "hot":
            crossed = round(run, 4) < 10.0 <= round(run + (clock - records[-1].start_s), 4)
            run += clock - records[-1].start_s
            expected += crossed
        elif kind == "cold":
            run = 0.0
    alerts = watch(*records, rules=(replace(ANGER, max_gap_s=1e9),))
    assert len(alerts) == expected
