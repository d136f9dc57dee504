"""Graphs made of Python, so that tests choose what comes out and see what went in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from app.bundle.manifest import EncoderSpec
from app.ort import Array, OrtError

Function = Callable[[Mapping[str, Array]], Mapping[str, Array]]

ENCODER_SPEC = EncoderSpec.model_validate(
    {
        "variants": {"fp32": {"file": "encoder.onnx"}},
        "default": "fp32",
        "embedding_dim": 2,
        "min_tokens": 4,
        "max_tokens": 100,
    }
)


class FakeSession:
    """Calls a function instead of a graph. feeds: what each run was given."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.feeds: list[Mapping[str, Array]] = []

    def run(self, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> tuple[Array, ...]:
        """The outputs named, from the function."""
        self.feeds.append(feeds)
        outputs = self._function(feeds)
        return tuple(outputs[name] for name in names or outputs)


class GatedSession(FakeSession):
    """Holds its first run until `gate` is set, so that a test decides what gathers meanwhile."""

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self.entered = threading.Event()
        self.gate = threading.Event()

    def run(self, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> tuple[Array, ...]:
        """The outputs named, once the gate is open."""
        self.entered.set()
        assert self.gate.wait(30), "the test never opened the gate"
        return super().run(feeds, names)


def token_sums(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """An encoder whose embedding is (sum of the valid tokens, their count), with even salience."""
    tokens, lengths = feeds["tokens"], feeds["length"]
    valid = np.arange(tokens.shape[2]) < lengths[:, np.newaxis]
    sums = (tokens * valid[:, np.newaxis]).sum(axis=(1, 2))
    return {
        "embedding": np.stack([sums, lengths], axis=1).astype(np.float32),
        "salience": (valid / lengths[:, np.newaxis]).astype(np.float32),
    }


def refuse_sevens(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """`token_sums`, but a batch that holds a 7 fails, as a bad input to a graph would."""
    if np.any(feeds["tokens"] == 7):
        raise OrtError("graph run failed: a seven")
    return token_sums(feeds)
