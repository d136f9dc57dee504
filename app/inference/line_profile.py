"""What is known, without labels, of where audio comes from (a line) and of a leg so far.

Training and serving both standardise embeddings with `shrink`, so they cannot drift apart. Formulas are in
`docs/bundle.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from app.domain import FloatArray

Float64Array = npt.NDArray[np.float64]

PROFILE_FORMAT = "kowairo-line-profile"
PROFILE_SCHEMA_VERSION = 1
STD_FLOOR = 0.01
"""Smallest standard deviation kept, as a share of the population's: a constant dimension must not explode."""

MAX_MEAN = 1e6
"""Far beyond any embedding: what is larger was never one, and would overflow what is computed with it."""
MAX_N = 10**15


class ProfileError(ValueError):
    """A line profile that cannot be used, with what was expected and what was got."""


def shrink(
    n: npt.ArrayLike,
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    population_mean: npt.ArrayLike,
    population_var: npt.ArrayLike,
    prior_n: float,
) -> tuple[FloatArray, FloatArray]:
    """Pulls a line's mean and variance towards the population while the line holds few utterances.

    w = n / (n + prior_n); mean' = w·mean + (1-w)·population_mean; var' = w·var + (1-w)·population_var;
    std' = max(sqrt(var'), STD_FLOOR·sqrt(population_var)). The distance between the two means is deliberately
    not counted as spread (a conjugate normal prior would): lines differ in their mean, that is why they have
    a profile. n = 0 gives the population exactly, n → ∞ the line.

    Args:
        n: utterances counted; a number, or [B, 1] to shrink B lines at once.
        mean: the line's mean, [D] or [B, D].
        var: the line's variance (divided by n, not n-1), same shape.
        population_mean: [D].
        population_var: [D], positive.
        prior_n: utterances' worth of trust in the population, >= 0.

    Returns:
        (mean, std), float32, of the shape of `mean`.

    Raises:
        ProfileError: for a negative n or prior_n, or a population variance that is not positive.
    """
    count = np.asarray(n, dtype=np.float64)
    pop_mean = np.asarray(population_mean, dtype=np.float64)
    pop_var = np.asarray(population_var, dtype=np.float64)
    if prior_n < 0 or np.any(count < 0):
        raise ProfileError(f"expected n >= 0 and prior_n >= 0, got n={n!r}, prior_n={prior_n!r}")
    if not np.all(pop_var > 0):
        raise ProfileError("expected a positive population variance in every dimension")
    weight = count / np.where(count > 0, count + prior_n, 1.0)
    shrunk_mean = weight * np.asarray(mean, dtype=np.float64) + (1.0 - weight) * pop_mean
    shrunk_var = weight * np.asarray(var, dtype=np.float64) + (1.0 - weight) * pop_var
    std = np.sqrt(np.maximum(shrunk_var, STD_FLOOR**2 * pop_var))
    return shrunk_mean.astype(np.float32), std.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class LineProfile:
    """Count, mean and spread of the embeddings of one line: no labels, no audio, nothing about a person.

    Immutable: `update` gives a new profile, so a snapshot in another thread never changes underfoot.

    n: utterances counted. mean: float64 [D]. m2: float64 [D], sum of squared differences from the mean.
    id: the line's name, as records give it. frozen: True where `update` must change nothing.
    """

    n: int
    mean: Float64Array
    m2: Float64Array
    id: str = "default"
    frozen: bool = False

    @classmethod
    def empty(cls, dim: int, id: str = "default") -> Self:
        """A line that has heard nothing, `dim` numbers wide."""
        return cls(0, np.zeros(dim), np.zeros(dim), id)

    @classmethod
    def from_embeddings(cls, embeddings: npt.ArrayLike, id: str = "default") -> Self:
        """The profile of embeddings [N, D] taken at once; equals N updates up to rounding."""
        values = np.asarray(embeddings, dtype=np.float64)
        if values.ndim != 2:
            raise ProfileError(f"expected embeddings [N, D], got shape {values.shape}")
        if len(values) == 0:
            return cls.empty(values.shape[1], id)
        mean = values.mean(axis=0)
        return cls(len(values), mean, ((values - mean) ** 2).sum(axis=0), id)

    @property
    def dim(self) -> int:
        """Width of the embeddings it summarises."""
        return len(self.mean)

    @property
    def var(self) -> Float64Array:
        """Variance over the line's utterances, [D], divided by n; zeros when n is 0."""
        return self.m2 / max(self.n, 1)

    def update(self, embedding: npt.ArrayLike) -> Self:
        """The profile after one more utterance (Welford, 1962); itself when frozen.

        Raises:
            ProfileError: for an embedding of another width, or one that is not finite.
        """
        if self.frozen:
            return self
        value = _checked_vector(embedding, self.dim, "embedding")
        n = self.n + 1
        delta = value - self.mean
        mean = self.mean + delta / n
        return replace(self, n=n, mean=mean, m2=self.m2 + delta * (value - mean))

    def merge(self, other: LineProfile) -> Self:
        """Both profiles' utterances together (Chan, Golub, LeVeque, 1979), under this one's id and flag."""
        if other.dim != self.dim:
            raise ProfileError(f"expected a profile {self.dim} wide, got {other.dim}")
        n = self.n + other.n
        if n == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.n / n)
        m2 = self.m2 + other.m2 + delta**2 * (self.n * other.n / n)
        return replace(self, n=n, mean=mean, m2=m2)

    def shrunk(
        self, population_mean: npt.ArrayLike, population_var: npt.ArrayLike, prior_n: float
    ) -> tuple[FloatArray, FloatArray]:
        """What a head is given: (mean, std), float32 [D] each; see `shrink`."""
        return shrink(self.n, self.mean, self.var, population_mean, population_var, prior_n)

    def drift(self, population_mean: npt.ArrayLike, population_var: npt.ArrayLike) -> float:
        """How far the line lies from the population: root mean square over D of (mean - mean_p) / std_p."""
        if self.n == 0:
            return 0.0
        distance = self.mean - np.asarray(population_mean, dtype=np.float64)
        return float(np.sqrt(np.mean(distance**2 / np.asarray(population_var, dtype=np.float64))))

    def to_json(self, model: str | None = None) -> dict[str, Any]:
        """Plain values for a JSON file; `model` names the bundle whose embeddings these are."""
        return {
            "format": PROFILE_FORMAT,
            "schema_version": PROFILE_SCHEMA_VERSION,
            "model": model,
            "id": self.id,
            "n": self.n,
            "frozen": self.frozen,
            "mean": self.mean.tolist(),
            "m2": self.m2.tolist(),
        }

    @classmethod
    def from_json(cls, document: object, *, dim: int, model: str | None = None) -> Self:
        """Reads what `to_json` wrote.

        Args:
            document: the parsed JSON.
            dim: the width of the embeddings of the bundle in service.
            model: the bundle in service; a profile that names another is refused.

        Raises:
            ProfileError: naming the field, with what was expected and what was got.
        """
        if not isinstance(document, Mapping):
            raise ProfileError(f"expected a JSON object, got {type(document).__name__}")
        _expect(document, "format", PROFILE_FORMAT)
        _expect(document, "schema_version", PROFILE_SCHEMA_VERSION)
        written_by = document.get("model")
        if model is not None and written_by is not None and written_by != model:
            raise ProfileError(
                f"model: expected {model!r}, got {written_by!r}: embeddings are not comparable"
            )
        n, name, frozen = document.get("n"), document.get("id"), document.get("frozen")
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            raise ProfileError(f"n: expected a whole number >= 0, got {n!r}")
        if not isinstance(name, str) or not isinstance(frozen, bool):
            raise ProfileError(f"expected a text id and a true/false frozen, got {name!r} and {frozen!r}")
        mean = _checked_vector(document.get("mean"), dim, "mean")
        m2 = _checked_vector(document.get("m2"), dim, "m2")
        if np.any(np.abs(mean) > MAX_MEAN) or np.any(m2 > MAX_MEAN**2 * max(n, 1)) or n > MAX_N:
            raise ProfileError(f"mean, m2, n: expected numbers of embeddings, at most {MAX_MEAN:g} each")
        if np.any(m2 < 0) or (n == 0 and (np.any(mean) or np.any(m2))):
            raise ProfileError("m2: expected sums of squares >= 0, and zeros everywhere where n is 0")
        return cls(n, mean, m2, name, frozen)


@dataclass(frozen=True, slots=True, eq=False)
class LegContext:
    """Running mean of the embeddings of one leg's earlier utterances.

    Memory only, gone with the call, never written: stored, it would be a voiceprint.
    mean: float64 [D], zeros where n is 0.
    """

    n: int
    mean: Float64Array

    @classmethod
    def empty(cls, dim: int) -> Self:
        """A leg that has not been scored yet."""
        return cls(0, np.zeros(dim))

    def update(self, embedding: npt.ArrayLike) -> Self:
        """The context after one more scored utterance.

        Raises:
            ProfileError: for an embedding of another width, or one that is not finite.
        """
        value = _checked_vector(embedding, len(self.mean), "embedding")
        n = self.n + 1
        return replace(self, n=n, mean=self.mean + (value - self.mean) / n)


def _expect(document: Mapping[str, Any], key: str, expected: object) -> None:
    if document.get(key) != expected:
        raise ProfileError(f"{key}: expected {expected!r}, got {document.get(key)!r}")


def _checked_vector(values: object, dim: int, name: str) -> Float64Array:
    try:
        vector = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"{name}: expected {dim} numbers") from error
    if vector.shape != (dim,):
        raise ProfileError(f"{name}: expected {dim} numbers, got shape {vector.shape}")
    if not np.all(np.isfinite(vector)):
        raise ProfileError(f"{name}: expected finite numbers")
    return vector
