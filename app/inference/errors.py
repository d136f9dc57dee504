"""The one error of this room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from app.ort import OrtError


class InferenceError(RuntimeError):
    """A graph or a number failed on an input: the utterance gets no record, nothing else is affected.

    Raised instead of publishing: a NaN posterior never leaves the service.
    """


@contextmanager
def graph_errors(graph: str) -> Iterator[None]:
    """Turns a failure of onnxruntime inside the block into an `InferenceError` naming the graph."""
    try:
        yield
    except OrtError as error:
        raise InferenceError(f"{graph}: {error}") from error


def require_finite(values: npt.ArrayLike, name: str) -> None:
    """Raises `InferenceError` where any value is NaN or infinite."""
    array = np.asarray(values)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InferenceError(f"{name}: expected finite numbers, got {bad} of {array.size} that are not")
