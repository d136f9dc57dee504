"""An embedding, seen against its line and its leg, to logits, arousal, valence and "is it speech"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.bundle.golden import head_feeds
from app.bundle.manifest import HeadSpec
from app.domain import FloatArray
from app.inference.errors import graph_errors, require_finite
from app.inference.line_profile import LegContext
from app.ort import GraphSession

OUTPUTS = ("logits", "arousal", "valence", "speech")


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """What a head says of one utterance, before calibration.

    logits: float32 [C], in the order of the manifest's categories. arousal, valence: clipped to [-1, 1].
    speech: logit that this is speech rather than music, tones or noise.
    """

    logits: FloatArray
    arousal: float
    valence: float
    speech: float


class Head:
    """One of the bundle's heads, shared by every call; thread-safe, as it holds no state."""

    def __init__(self, session: GraphSession, spec: HeadSpec) -> None:
        self._session = session
        self.spec = spec

    def score(
        self, embedding: FloatArray, line: tuple[FloatArray, FloatArray, int], leg: LegContext
    ) -> HeadOutput:
        """Scores one embedding [D].

        Args:
            embedding: the encoder's.
            line: (mean [D], std [D], n), already shrunk (`LineProfile.shrunk`).
            leg: the leg's earlier utterances.

        Raises:
            InferenceError: where the graph fails, or gives a number that is not finite.
        """
        mean, std, n = line
        feeds = head_feeds(embedding, (mean, std, float(n)), (leg.mean.astype(np.float32), float(leg.n)))
        with graph_errors("head"):
            outputs = self._session.run(feeds, OUTPUTS)
        for name, value in zip(OUTPUTS, outputs, strict=True):
            require_finite(value, name)
        logits, arousal, valence, speech = (value[0] for value in outputs)
        clipped = np.clip((arousal, valence), -1.0, 1.0)
        return HeadOutput(logits, float(clipped[0]), float(clipped[1]), float(speech))
