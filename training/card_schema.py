"""The evaluation file (`evaluation.json`): what card, tables, plots and README are made of. Pydantic, for it is a door.

All figures are plain JSON numbers; a NaN (an interval over one speaker, a recall without clips) is written as null.
`set` names a test set (`ravdess7`, `emodb4` …), several of them (`in_corpus`, `mean of sets`), or a kind of sound
(`music`, `tone_dtmf`, `speech`); `condition` what was done to it (`evaluation_sets.CONDITIONS`, `calls_balanced` …).

`results[].name` is the model or variant measured: headline tables take the bundle's `variant`, every other name is
shown beside it. `profile_n` is the number of unlabelled utterances in the line profile, 0 when cold. Everything but
`bundle`, `corpora` and `results` may be left out, and its section then says so.

`av` and `experiments` are handed in by those who ran them, as plain data. `experiments`: summaries as
`training.experiments` writes them, in a list or by name; anything else is shown as it comes
(`report.tables.generic`): a list of flat mappings is a table, a flat mapping one of two columns, anything deeper a
section.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator


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


class BaselineRow(ResultRow):
    """One figure of a system that isn't the bundle; trained_on: the protocol (`baselines.protocols`)."""

    trained_on: str


class Recall(_Part):
    """Recall of one category."""

    value: float
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


class CalibrationRow(_Part):
    """How far confidence lies from the share that is right (`measure_calibration`).

    ece: over the set's categories, with its interval. perfect: what exact confidences would show on average with as
    many clips. uncalibrated: ece at temperature 1. served: ece over all categories. reliability: (mean confidence,
    share correct, predictions) of each bin.
    """

    set: str
    profile_n: int
    ece: float
    low: float | None
    high: float | None
    perfect: float
    uncalibrated: float
    served: float
    brier: float
    nll: float
    n: int
    speakers: int
    bins: int = 15
    reliability: list[tuple[float, float, int]] = Field(default_factory=list)


class RiskCoverage(_Part):
    """Abstention as served: points of (coverage, risk), and where the shipped threshold lies on the curve."""

    area: float
    points: list[tuple[float, float]] = Field(default_factory=list)
    threshold: float | None = None
    coverage: float | None = None
    coverage_interval: tuple[float, float] | None = None
    risk: float | None = None
    risk_interval: tuple[float, float] | None = None
    n: int | None = None


class SoundSource(_Part):
    """One voice, track or place that is not emotional speech: shares rejected and published."""

    kind: str
    source: str
    n: int
    rejected: float
    published: float


class Group(_Part):
    """UAR of one group of speakers, over one set or the mean over several."""

    value: float
    n: int
    speakers: int
    low: float | None = None
    high: float | None = None
    sets: int = 1


class CostRow(_Part):
    """What running it takes, with the machine in the note."""

    what: str
    value: float
    unit: str
    note: str = ""


class Evaluation(_Part):
    """The whole file."""

    schema_version: Literal[2] = 2
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
    conditions: dict[str, str] = Field(default_factory=dict)
    baselines: list[BaselineRow] = Field(default_factory=list)
    skipped: list[str] = Field(default_factory=list)
    recalls: dict[str, dict[str, Recall | None]] = Field(default_factory=dict)
    confusion: dict[str, Confusion] = Field(default_factory=dict)
    described_profile: dict[str, int] = Field(default_factory=dict)
    calibration: list[CalibrationRow] = Field(default_factory=list)
    risk_coverage: dict[str, RiskCoverage] = Field(default_factory=dict)
    sounds: list[SoundSource] = Field(default_factory=list)
    gaps: dict[Literal["sex", "language"], dict[str, dict[str, Group]]] = Field(default_factory=dict)
    cost: list[CostRow] = Field(default_factory=list)
    limits: list[str] = Field(default_factory=list)
    av: JsonValue = None
    experiments: JsonValue = None

    @model_validator(mode="after")
    def _once(self) -> Evaluation:
        seen = set()
        for row in self.results:
            key = (row.name, row.set, row.condition, row.profile_n, row.metric)
            if key in seen:
                raise ValueError(f"two results for {', '.join(map(str, key))}")
            seen.add(key)
        return self

    def find(
        self, name: str, metric: str = "UAR", profile_n: int = 0, condition: str = "clean", model: str = ""
    ) -> ResultRow | None:
        """One figure of the bundle's variant (or of another `model`); None where it was not measured."""
        wanted = (model or self.bundle.variant, name, condition, profile_n, metric)
        for row in self.results:
            if (row.name, row.set, row.condition, row.profile_n, row.metric) == wanted:
                return row
        return None

    def calibrated(self, name: str, profile_n: int) -> CalibrationRow | None:
        """The calibration of a set with a profile of this size."""
        found = (row for row in self.calibration if (row.set, row.profile_n) == (name, profile_n))
        return next(found, None)
