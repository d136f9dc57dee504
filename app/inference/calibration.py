"""From logits to a posterior that means what it says (temperature scaling: Guo et al., 2017)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.inference.errors import InferenceError, require_finite


def posterior(logits: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """softmax(logits / temperature) over the last axis, safe for logits of any finite size.

    Args:
        logits: [..., C].
        temperature: > 0; above 1 flattens, below 1 sharpens.

    Returns:
        float64 [..., C], each row sums to 1.

    Raises:
        InferenceError: where a logit is NaN or infinite, or the temperature is not a positive number.
    """
    require_finite(logits, "logits")
    if not (np.isfinite(temperature) and temperature > 0):
        raise InferenceError(f"expected a positive temperature, got {temperature!r}")
    values = np.asarray(logits, dtype=np.float64)
    # Differences first: no exponent is then above 0, and one too far below is rightly 0.
    with np.errstate(over="ignore", under="ignore"):
        weights = np.exp((values - values.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float64)
