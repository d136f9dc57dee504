"""Who may be scored, and what a wrong answer costs (`docs/decisions/` says why).

Inferring the emotions of people at work is forbidden in the European Union but for medical or safety reasons
(Regulation (EU) 2024/1689, article 5(1)(f)), so an agent's leg is scored only under a configured purpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from app.domain import AbstainReason, CallStart, Leg


class ScoringPurpose(StrEnum):
    """The lawful purposes for scoring someone at work; `NONE` scores nobody at work."""

    NONE = "none"
    SAFETY = "safety"
    MEDICAL = "medical"


@dataclass(frozen=True, slots=True)
class LinePolicy:
    """What one line asks for. agent_scoring_purpose: None takes the site's. score_mixed: also where sides are mixed."""

    require_consent: bool = False
    require_notice: bool = False
    agent_scoring_purpose: ScoringPurpose | None = None
    score_mixed: bool = False


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """The site's rules. lines: by line name; a line that is not named has the defaults."""

    agent_scoring_purpose: ScoringPurpose = ScoringPurpose.NONE
    lines: Mapping[str, LinePolicy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LegPolicy:
    """Whether a leg may be scored; reason and detail say why not."""

    scored: bool
    reason: AbstainReason | None = None
    detail: str | None = None


def decide(leg: Leg, start: CallStart, config: PolicyConfig) -> LegPolicy:
    """Whether this leg of this call may be scored: consent, then notice, then the agent's purpose."""
    line = config.lines.get(start.line, LinePolicy())
    if line.require_consent and not start.consent:
        return _refuse("this line requires consent, and the call was started without 'consent': true")
    if line.require_notice and not start.notice_given:
        return _refuse("this line requires notice, and the call was started without 'notice_given': true")
    purpose = line.agent_scoring_purpose
    if purpose is None:
        purpose = config.agent_scoring_purpose
    if leg is Leg.AGENT and purpose is ScoringPurpose.NONE:
        return _refuse("agent legs are scored only for a configured safety or medical purpose")
    if leg is Leg.MIXED and not line.score_mixed:
        return _refuse("mixed audio holds both sides; it is scored only where the line says `score_mixed`")
    return LegPolicy(scored=True)


def _refuse(detail: str) -> LegPolicy:
    return LegPolicy(scored=False, reason=AbstainReason.POLICY, detail=detail)


MAX_COST = 1e12


class CostMatrixError(ValueError):
    """A cost matrix that cannot be used; the message names the cell."""


@dataclass(frozen=True, slots=True)
class CostMatrix:
    """What it costs the site to publish `decision` when the speaker was `truth`: costs[truth][decision].

    Cells that are not given cost 0 on the diagonal and 1 off it, so an empty matrix makes the expected cost
    the probability of being wrong. Build with `from_mapping`, which checks.
    """

    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def from_mapping(
        cls, costs: Mapping[str, Mapping[str, float]] | None, categories: Sequence[str] | None = None
    ) -> Self:
        """Check and copy a matrix; categories: the head's, where they are known.

        Raises:
            CostMatrixError: a cost is not a finite number from 0 to `MAX_COST`, or a cell names a
                category that the head lacks.
        """
        rows = {} if costs is None else costs
        checked: dict[str, dict[str, float]] = {}
        for truth, row in rows.items():
            _check_category(f"cost_matrix[{truth!r}]", truth, categories)
            checked[truth] = {}
            for decision, cost in row.items():
                cell = f"cost_matrix[{truth!r}][{decision!r}]"
                _check_category(cell, decision, categories)
                checked[truth][decision] = _checked_cost(cell, cost)
        return cls(checked)

    def cost(self, truth: str, decision: str) -> float:
        """The cost of one cell."""
        default = 0.0 if truth == decision else 1.0
        return self.costs.get(truth, {}).get(decision, default)

    def expected_cost(self, posterior: Sequence[float], categories: Sequence[str], decision: str) -> float:
        """Bayes risk of publishing `decision`: the sum over truths t of p(t) · cost(t, decision).

        posterior: calibrated probabilities in the order of `categories`.
        """
        pairs = zip(posterior, categories, strict=True)
        return float(sum(float(p) * self.cost(truth, decision) for p, truth in pairs))


def _checked_cost(cell: str, cost: object) -> float:
    # The bound keeps sums finite, and refuses whole numbers that no float holds before they overflow one.
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost <= MAX_COST:
        return float(cost)
    raise CostMatrixError(f"{cell}: expected a finite number from 0 to {MAX_COST:g}, got {cost!r}")


def _check_category(where: str, name: str, categories: Sequence[str] | None) -> None:
    if categories is not None and name not in categories:
        raise CostMatrixError(f"{where}: expected categories among {list(categories)}, got {name!r}")
