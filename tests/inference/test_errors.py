"""The room's error: what becomes one."""

from __future__ import annotations

import numpy as np
import pytest

from app.inference.errors import InferenceError, graph_errors, require_finite
from app.ort import OrtError


def test_a_failed_run_names_the_graph() -> None:
    """A failure of onnxruntime is told with the graph that failed."""
    with pytest.raises(InferenceError, match="head: broken"), graph_errors("head"):
        raise OrtError("broken")


def test_other_errors_pass() -> None:
    """A mistake in our own code is not dressed up as a failed graph."""
    with pytest.raises(KeyError), graph_errors("head"):
        raise KeyError("mine")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_counted(bad: float) -> None:
    """The message says which tensor and how many of its numbers are not finite."""
    with pytest.raises(InferenceError, match="logits: expected finite numbers, got 1 of 3"):
        require_finite([0.0, bad, 1.0], "logits")


def test_finite_numbers_pass() -> None:
    """Finite numbers, and none at all, are fine."""
    require_finite([0.0, -1e30], "x")
    require_finite([], "x")
