"""Alerts: rules on the records of a call. Pure; time is the call's own.

A *run* is a row of utterances of one leg which all lie beyond a rule's bound. When their speech adds up to `for_s`
the rule raises an alert, once a run. Records that were abstained on say nothing about the speaker: they neither count
nor end a run, and the alert says how many were passed over. A run ends with a scored utterance that does not lie
beyond the bound, or where `max_gap_s` pass without a scored utterance. People whose scoring is not lawful have no
scores, so nothing is raised about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.domain import Leg, UtteranceRecord
from app.records import rfc3339

MAX_GAP_S = 60.0
_DIGITS = 4


class RuleKind(StrEnum):
    """What a rule looks at."""

    EMOTION = "emotion"
    EXPECTED_COST = "expected_cost"
    VALENCE = "valence"


BOUND_NAMES = {RuleKind.EMOTION: "min_score", RuleKind.EXPECTED_COST: "above", RuleKind.VALENCE: "below"}
"""What the bound is called in JSON."""


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When to raise an alert.

    bound: a score of `emotion` of at least so much, an expected cost above it, or a valence below it. for_s: seconds
    of speech in the run, 0 for a single utterance. leg, line, team: only there; None everywhere. cooldown_s: the
    least time between two alerts of the rule in one leg, on its clock. max_gap_s: see above. name: for people.
    """

    id: str
    kind: RuleKind
    bound: float
    emotion: str | None = None
    for_s: float = 0.0
    leg: Leg | None = None
    line: str | None = None
    team: str | None = None
    cooldown_s: float = 0.0
    max_gap_s: float = MAX_GAP_S
    enabled: bool = True
    name: str = field(default="", compare=False)

    def covers(self, leg: Leg, line: str, team: str | None) -> bool:
        """Whether the rule holds for this leg of a call of this line and team."""
        return (
            self.enabled
            and self.leg in (None, leg)
            and self.line in (None, line)
            and (self.team is None or self.team == team)
        )

    def value_of(self, record: UtteranceRecord) -> float | None:
        """The figure of a record that the rule looks at; None where it has none, or was abstained on."""
        if record.abstained:
            return None
        if self.kind is RuleKind.EMOTION:
            return None if record.scores is None else record.scores.get(self.emotion or "")
        return record.expected_cost if self.kind is RuleKind.EXPECTED_COST else record.valence

    def is_beyond(self, value: float) -> bool:
        """Whether a figure lies beyond the bound."""
        if self.kind is RuleKind.EMOTION:
            return value >= self.bound
        return value > self.bound if self.kind is RuleKind.EXPECTED_COST else value < self.bound

    def body(self) -> dict[str, Any]:
        """As a JSON object, without the id."""
        shown: dict[str, Any] = {"kind": self.kind.value, BOUND_NAMES[self.kind]: self.bound}
        if self.kind is RuleKind.EMOTION:
            shown["emotion"] = self.emotion
        return shown | {
            "for_s": self.for_s,
            "leg": None if self.leg is None else self.leg.value,
            "line": self.line,
            "team": self.team,
            "cooldown_s": self.cooldown_s,
            "max_gap_s": self.max_gap_s,
            "enabled": self.enabled,
            "name": self.name,
        }

    @classmethod
    def from_body(cls, rule_id: str, body: Mapping[str, Any]) -> AlertRule:
        """The way back from `body`."""
        kind = RuleKind(body["kind"])
        return cls(
            id=rule_id,
            kind=kind,
            bound=body[BOUND_NAMES[kind]],
            emotion=body.get("emotion"),
            for_s=body["for_s"],
            leg=None if body["leg"] is None else Leg(body["leg"]),
            line=body["line"],
            team=body["team"],
            cooldown_s=body["cooldown_s"],
            max_gap_s=body["max_gap_s"],
            enabled=body["enabled"],
            name=body["name"],
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """What a rule raised. value: of the record that raised it.

    at: epoch seconds, of the record. started_s: where the run began, ended_s: where it was raised, on the leg's clock.
    speech_s, utterances: of the run so far. abstained: records passed over inside it.
    """

    rule: AlertRule
    call_id: str
    leg: Leg
    line: str
    team: str | None
    seq: int
    utterance_id: str
    at: float | None
    value: float
    started_s: float
    ended_s: float
    speech_s: float
    utterances: int
    abstained: int

    @property
    def id(self) -> str:
        """The same for the same rule and record, however often it is evaluated."""
        return f"{self.rule.id}:{self.call_id}:{self.seq}"

    def body(self) -> dict[str, Any]:
        """As the JSON object that every door publishes."""
        return {
            "id": self.id,
            "rule_id": self.rule.id,
            "rule_name": self.rule.name,
            "kind": self.rule.kind.value,
            "emotion": self.rule.emotion,
            "bound": self.rule.bound,
            "for_s": self.rule.for_s,
            "call_id": self.call_id,
            "leg": self.leg.value,
            "line": self.line,
            "team": self.team,
            "seq": self.seq,
            "utterance_id": self.utterance_id,
            "at": None if self.at is None else rfc3339(self.at),
            "value": self.value,
            "started_s": self.started_s,
            "ended_s": self.ended_s,
            "speech_s": self.speech_s,
            "utterances": self.utterances,
            "abstained": self.abstained,
        }


@dataclass(slots=True)
class _Run:
    """How far one rule is with one leg."""

    utterances: int = 0
    abstained: int = 0
    speech_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0
    raised: bool = False
    raised_at: float | None = None

    def end(self) -> None:
        self.utterances, self.abstained, self.speech_s, self.raised = 0, 0, 0.0, False

    def raises(self, rule: AlertRule, record: UtteranceRecord, value: float | None) -> bool:
        """Takes in a record; whether it raises the alert."""
        if value is None:
            self.abstained += self.utterances > 0
            return False
        if self.utterances and record.start_s - self.ended_s > rule.max_gap_s:
            self.end()
        if not rule.is_beyond(value):
            self.end()
            return False
        if not self.utterances:
            self.started_s = record.start_s
        self.utterances += 1
        self.speech_s += max(0.0, record.end_s - record.start_s)
        self.ended_s = record.end_s
        cooling = self.raised_at is not None and record.end_s - self.raised_at < rule.cooldown_s
        if self.raised or cooling or round(self.speech_s, _DIGITS) < rule.for_s:
            return False
        self.raised, self.raised_at = True, record.end_s
        return True


class AlertWatch:
    """The state of all rules in one call. A rule that is changed begins anew; the others go on."""

    def __init__(self, line: str, team: str | None) -> None:
        self._line = line
        self._team = team
        self._runs: dict[tuple[AlertRule, Leg], _Run] = {}
        self._last_seq = 0

    def on_record(self, record: UtteranceRecord, rules: Sequence[AlertRule]) -> list[Alert]:
        """The alerts that a record raises, under the rules as they are now; a record seen before raises none."""
        seq = record.seq or self._last_seq + 1
        if seq <= self._last_seq:
            return []
        self._last_seq = seq
        holding = [rule for rule in rules if rule.covers(record.leg, self._line, self._team)]
        kept = {rule.id: rule for rule in rules}
        self._runs = {key: run for key, run in self._runs.items() if kept.get(key[0].id) == key[0]}
        return [alert for rule in holding if (alert := self._step(rule, record, seq)) is not None]

    def _step(self, rule: AlertRule, record: UtteranceRecord, seq: int) -> Alert | None:
        run = self._runs.setdefault((rule, record.leg), _Run())
        value = rule.value_of(record)
        if not run.raises(rule, record, value) or value is None:
            return None
        return Alert(
            rule=rule,
            call_id=record.call_id,
            leg=record.leg,
            line=self._line,
            team=self._team,
            seq=seq,
            utterance_id=record.utterance_id,
            at=record.created_at,
            value=value,
            started_s=run.started_s,
            ended_s=record.end_s,
            speech_s=round(run.speech_s, _DIGITS),
            utterances=run.utterances,
            abstained=run.abstained,
        )
