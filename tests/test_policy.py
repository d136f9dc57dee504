"""Policy: who may be scored, and the cost matrix."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import AbstainReason, AudioFormat, CallStart, Encoding, Leg
from app.policy import (
    CostMatrix,
    CostMatrixError,
    LegPolicy,
    LinePolicy,
    PolicyConfig,
    ScoringPurpose,
    decide,
)

FORMAT = AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER, Leg.AGENT))
CATEGORIES = ("anger", "joy", "neutral")


def call(line: str = "default", *, consent: bool = False, notice_given: bool = False) -> CallStart:
    """A two-legged call on `line`."""
    return CallStart("c", FORMAT, line=line, consent=consent, notice_given=notice_given)


def test_customers_are_scored_and_agents_are_not_by_default() -> None:
    """Without configuration only the customer's leg is scored, and the refusal names the reason."""
    assert decide(Leg.CUSTOMER, call(), PolicyConfig()) == LegPolicy(True)
    refused = decide(Leg.AGENT, call(), PolicyConfig())
    assert (refused.scored, refused.reason) == (False, AbstainReason.POLICY)
    assert refused.detail is not None
    assert "purpose" in refused.detail


@pytest.mark.parametrize("purpose", [ScoringPurpose.SAFETY, ScoringPurpose.MEDICAL])
def test_a_lawful_purpose_lets_agents_be_scored(purpose: ScoringPurpose) -> None:
    """A safety or medical purpose, of the site or of the line, opens the agent's leg."""
    assert decide(Leg.AGENT, call(), PolicyConfig(purpose)).scored
    by_line = PolicyConfig(lines={"ward": LinePolicy(agent_scoring_purpose=purpose)})
    assert decide(Leg.AGENT, call("ward"), by_line).scored
    assert not decide(Leg.AGENT, call("sales"), by_line).scored


def test_a_line_may_close_what_the_site_opened() -> None:
    """A line's purpose `none` overrides the site's."""
    config = PolicyConfig(
        ScoringPurpose.SAFETY, {"sales": LinePolicy(agent_scoring_purpose=ScoringPurpose.NONE)}
    )
    assert not decide(Leg.AGENT, call("sales"), config).scored


@pytest.mark.parametrize("leg", list(Leg))
@pytest.mark.parametrize(
    ("line", "consent", "notice", "word"),
    [
        (LinePolicy(require_consent=True), False, True, "consent"),
        (LinePolicy(require_notice=True), True, False, "notice"),
        (LinePolicy(require_consent=True, require_notice=True), True, True, None),
    ],
)
def test_required_consent_and_notice_hold_for_every_leg(
    leg: Leg, line: LinePolicy, consent: bool, notice: bool, word: str | None
) -> None:
    """A line that requires consent or notice scores no leg of a call started without it."""
    config = PolicyConfig(ScoringPurpose.SAFETY, {"l": replace(line, score_mixed=True)})
    decision = decide(leg, call("l", consent=consent, notice_given=notice), config)
    assert decision.scored is (word is None)
    assert word is None or word in (decision.detail or "")


def test_the_default_cost_is_the_probability_of_being_wrong() -> None:
    """An empty matrix costs 0 for right and 1 for wrong."""
    assert CostMatrix().expected_cost([0.5, 0.25, 0.25], CATEGORIES, "anger") == pytest.approx(0.5)


def test_expected_cost_equals_a_hand_computed_example() -> None:
    """The Bayes risk sums p(truth) · cost(truth, decision), with defaults for cells not given."""
    matrix = CostMatrix.from_mapping({"anger": {"neutral": 5, "anger": 0.5}}, CATEGORIES)
    assert matrix.expected_cost([0.2, 0.3, 0.5], CATEGORIES, "neutral") == pytest.approx(0.2 * 5 + 0.3)
    assert matrix.expected_cost([0.2, 0.3, 0.5], CATEGORIES, "anger") == pytest.approx(0.2 * 0.5 + 0.8)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.1, True, "3", None, 10**400, 1e13])
def test_a_bad_cost_is_refused_naming_its_cell(bad: object) -> None:
    """NaN, infinite, negative, enormous or non-numeric costs are refused with the cell's name."""
    with pytest.raises(CostMatrixError, match=r"cost_matrix\['anger'\]\['joy'\]"):
        CostMatrix.from_mapping({"anger": {"joy": bad}})  # type: ignore[dict-item]


@pytest.mark.parametrize("costs", [{"rage": {"joy": 1.0}}, {"joy": {"rage": 1.0}}, {"rage": {}}])
def test_a_category_the_head_lacks_is_refused(costs: dict[str, dict[str, float]]) -> None:
    """Rows and columns must be categories of the head, where it is known."""
    with pytest.raises(CostMatrixError, match="rage"):
        CostMatrix.from_mapping(costs, CATEGORIES)


def test_no_matrix_is_the_default_matrix() -> None:
    """None stands for 0/1 costs."""
    assert CostMatrix.from_mapping(None) == CostMatrix()


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.sampled_from(CATEGORIES))
def test_expected_cost_lies_between_the_cells_for_any_posterior(weights: list[float], decision: str) -> None:
    """For a posterior that sums to one the risk is a weighted mean of the decision's column."""
    total = sum(weights)
    posterior = [w / total for w in weights] if total > 0 else [1 / 3] * 3
    matrix = CostMatrix.from_mapping({"anger": {"joy": 7.0, "neutral": 3.0}}, CATEGORIES)
    column = [matrix.cost(truth, decision) for truth in CATEGORIES]
    assert min(column) - 1e-9 <= matrix.expected_cost(posterior, CATEGORIES, decision) <= max(column) + 1e-9


def test_mixed_audio_is_scored_only_where_the_line_says_so() -> None:
    """It holds the agent's voice too; no purpose of the site changes that."""
    lines = {"mixed": LinePolicy(score_mixed=True)}
    config = PolicyConfig(ScoringPurpose.SAFETY, lines)
    assert not decide(Leg.MIXED, call("other"), config).scored
    assert decide(Leg.MIXED, call("mixed"), config).scored
