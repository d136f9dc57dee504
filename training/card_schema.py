"""The evaluation file (`evaluation.json`): what a model card is made of. Pydantic, for it is a door.

All figures are plain JSON numbers; a NaN (an interval over one speaker, a recall without clips) is written as
null. `set` names a test set (`ravdess7`, `emodb4`, `nemo6` …), `condition` what was done to it after the
telephone chain (`clean`, `snr_10db`, `loss_5pct`, `1s`, `calls_balanced`, `calls_neutral`, `calls_constant`).

    {"schema_version": 1,
     "bundle":   {"name", "version", "variant", "parameters": {part: count}, "sizes": {file: bytes}},
     "created":  "2025-01-31", "commit": "…", "config": "…", "seconds": 4380.0, "seed": 0,
     "stages":   [{"name", "what", "steps", "seconds"}],
     "teachers": [{"name", "licence", "used_for"}],
     "corpora":  [{"name", "language", "licence", "cite", "clips", "speakers", "hours", "used_for"}],
     "sets":     [{"name", "what", "categories": […]}],
     "results":  [{"name", "set", "condition", "profile_n", "metric", "value", "low", "high", "n",
                   "speakers"}],
     "recalls":  {set: {category: recall}},
     "confusion": {set: {"labels": […], "matrix": [[…]]}},
     "ece":      {set: {"before": x, "after": x, "bins": 15}},
     "risk_coverage": {set: {"area": x, "points": [[coverage, risk], …]}},
     "gaps":     {"sex" | "language": {set: {group: {"value", "n", "speakers"}}}},
     "cost":     [{"what", "value", "unit", "note"}],
     "limits":   ["…"]}

`results[].name` is the model or variant measured: the headline table takes the bundle's `variant`, every
other name is shown beside it. `profile_n` is the number of unlabelled utterances in the line profile, 0 when
cold. Everything but `bundle`, `corpora` and `results` may be left out, and its section then says so.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BundleRow(_Part):
    """The bundle that was measured; `variant` is the one whose results make the headline."""

    name: str
    version: str
    variant: str
    parameters: dict[str, int]
    sizes: dict[str, int] = Field(default_factory=dict)


class StageRow(_Part):
    """One stage of training."""

    name: str
    what: str
    steps: int | None = None
    seconds: float | None = None


class TeacherRow(_Part):
    """A model that taught during training and isn't needed afterwards."""

    name: str
    licence: str
    used_for: str


class CorpusRow(_Part):
    """One corpus, as `corpora.registry.describe` gives it."""

    name: str
    licence: str
    clips: int
    hours: float
    used_for: str
    language: str = "not stated"
    cite: str = ""
    speakers: int | None = None


class SetRow(_Part):
    """One test set."""

    name: str
    what: str
    categories: list[str]


class ResultRow(_Part):
    """One figure. low, high: 95 % interval by speaker, null with one speaker. n: clips."""

    name: str
    set: str
    metric: str
    value: float
    n: int
    speakers: int
    condition: str = "clean"
    profile_n: int = 0
    low: float | None = None
    high: float | None = None


class Confusion(_Part):
    """Counts; row: truth, column: prediction."""

    labels: list[str]
    matrix: list[list[int]]

    @model_validator(mode="after")
    def _square(self) -> Confusion:
        size = len(self.labels)
        if len(self.matrix) != size or any(len(row) != size for row in self.matrix):
            raise ValueError(f"expected a {size} × {size} matrix for {size} labels")
        return self


class Ece(_Part):
    """Expected calibration error; `before` calibration where it was measured."""

    after: float
    before: float | None = None
    bins: int = 15


class RiskCoverage(_Part):
    """The curve of abstention: points of (coverage, risk)."""

    area: float
    points: list[tuple[float, float]] = Field(default_factory=list)


class Group(_Part):
    """UAR of one group of speakers."""

    value: float
    n: int
    speakers: int


class CostRow(_Part):
    """What running it takes, with the machine in the note."""

    what: str
    value: float
    unit: str
    note: str = ""


class Evaluation(_Part):
    """The whole file."""

    schema_version: Literal[1] = 1
    bundle: BundleRow
    corpora: list[CorpusRow]
    results: list[ResultRow]
    created: str | None = None
    commit: str | None = None
    config: str | None = None
    seconds: float | None = None
    seed: int | None = None
    stages: list[StageRow] = Field(default_factory=list)
    teachers: list[TeacherRow] = Field(default_factory=list)
    sets: list[SetRow] = Field(default_factory=list)
    recalls: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    confusion: dict[str, Confusion] = Field(default_factory=dict)
    ece: dict[str, Ece] = Field(default_factory=dict)
    risk_coverage: dict[str, RiskCoverage] = Field(default_factory=dict)
    gaps: dict[Literal["sex", "language"], dict[str, dict[str, Group]]] = Field(default_factory=dict)
    cost: list[CostRow] = Field(default_factory=list)
    limits: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _once(self) -> Evaluation:
        seen = set()
        for row in self.results:
            key = (row.name, row.set, row.condition, row.profile_n, row.metric)
            if key in seen:
                raise ValueError(f"two results for {', '.join(map(str, key))}")
            seen.add(key)
        return self
