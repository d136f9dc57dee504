"""Who may be scored, on which lines, and what a wrong answer costs."""

from __future__ import annotations

import math

from pydantic import field_validator

from app.settings.base import AgentPurpose, Group

CostCells = dict[str, dict[str, float]]


class PolicySettings(Group):
    """Who may be scored, and what a wrong answer costs.

    cost_matrix: `{true category: {decided category: cost}}`; every cost finite and at least 0.
    """

    agent_scoring_purpose: AgentPurpose = "none"
    cost_matrix: CostCells | None = None

    @field_validator("cost_matrix")
    @classmethod
    def _finite_costs(cls, cells: CostCells | None) -> CostCells | None:
        for truth, row in (cells or {}).items():
            for decision, cost in row.items():
                if not math.isfinite(cost) or cost < 0:
                    raise ValueError(
                        f"cell [{truth}][{decision}] is {cost}, expected a finite number of at least 0"
                    )
        return cells


class LineSettings(Group):
    """What holds for one line, where it differs from the site.

    score_mixed: score audio in which both sides are mixed. pause_keys, resume_keys: telephone keys that stop and go
    on with listening, for payments.
    """

    require_consent: bool = False
    require_notice: bool = False
    agent_scoring_purpose: AgentPurpose | None = None
    profile_frozen: bool = False
    score_mixed: bool = False
    pause_keys: str | None = None
    resume_keys: str | None = None
