"""The shapes of alert rules and alerts in REST."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from app.api.hook_bodies import PRINTABLE, Category, Name
from app.api.protocol import Body
from app.delivery.alerts import MAX_GAP_S, AlertRule, RuleKind
from app.domain import Leg
from app.policy import MAX_COST

MAX_S = 86_400
_NAME_CHARS = 64

Seconds = Annotated[float, Field(ge=0, le=MAX_S, allow_inf_nan=False)]


class _Rule(BaseModel):
    """What all rules have.

    `for_s`: seconds of speech over which it must hold; 0 for a single utterance. `leg`, `line`, `team`: only there.
    `cooldown_s`: the least time between two alerts of the rule in one leg. `max_gap_s`: a run ends where nothing
    scored is heard for so long.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    for_s: Seconds = 0.0
    leg: Leg | None = None
    line: Name | None = None
    team: Name | None = None
    cooldown_s: Seconds = 0.0
    max_gap_s: Annotated[float, Field(gt=0, le=MAX_S, allow_inf_nan=False)] = MAX_GAP_S
    enabled: bool = True
    name: Annotated[str, Field(max_length=_NAME_CHARS, pattern=PRINTABLE)] = ""


class EmotionRule(_Rule):
    """The posterior of an emotion is at least `min_score`."""

    kind: Literal[RuleKind.EMOTION]
    emotion: Category
    min_score: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class CostRule(_Rule):
    """The expected cost is above a bound."""

    kind: Literal[RuleKind.EXPECTED_COST]
    above: Annotated[float, Field(ge=0, le=MAX_COST, allow_inf_nan=False)]


class ValenceRule(_Rule):
    """The valence is below a bound."""

    kind: Literal[RuleKind.VALENCE]
    below: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]


AnyRule = Annotated[EmotionRule | CostRule | ValenceRule, Field(discriminator="kind")]


class RuleRequest(RootModel[AnyRule]):
    """An alert rule, by its `kind`."""

    def plain(self) -> dict[str, Any]:
        """As `AlertRule.from_body` takes it."""
        return self.root.model_dump(mode="json")


class RuleBody(Body):
    """An alert rule that is in force. Of `emotion`, `min_score`, `above` and `below`, those of other kinds are null."""

    id: str
    kind: RuleKind
    emotion: str | None = None
    min_score: float | None = None
    above: float | None = None
    below: float | None = None
    for_s: float
    leg: Leg | None
    line: str | None
    team: str | None
    cooldown_s: float
    max_gap_s: float
    enabled: bool
    name: str


class AlertBody(Body):
    """An alert that a rule raised.

    `position`: in the tenant's feed. `value`: of the record that raised it. `started_s`, `ended_s`: of the run, on the
    leg's clock. `speech_s`, `utterances`: in it. `abstained`: records passed over inside it.
    """

    position: int
    id: str
    rule_id: str
    rule_name: str
    kind: RuleKind
    emotion: str | None
    bound: float
    for_s: float
    call_id: str
    leg: Leg
    line: str
    team: str | None
    seq: int
    utterance_id: str
    at: str | None
    value: float
    started_s: float
    ended_s: float
    speech_s: float
    utterances: int
    abstained: int


def rule_body(rule: AlertRule) -> dict[str, Any]:
    """A rule as a `RuleBody`."""
    return {"id": rule.id, **rule.body()}
