"""An embedding, seen against its line and its leg, to logits, arousal, valence and the kind of sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.bundle.golden import head_feeds, head_outputs
from app.bundle.manifest import HeadSpec
from app.domain import FloatArray
from app.inference.errors import graph_errors, require_finite
from app.inference.line_profile import LegContext
from app.ort import GraphSession


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """What a head says of one utterance, before calibration.

    logits: float32 [C], in the order of the manifest's categories. arousal, valence: clipped to [-1, 1].
    speech: logit that this is speech rather than music, tones or noise. sound: float32 [S], logits of the kinds of
    sound in the order of the manifest; None for a head without them.
    """

    logits: FloatArray
    arousal: float
    valence: float
    speech: float
    sound: FloatArray | None = None


class Head:
    """One of the bundle's heads, shared by every call; thread-safe, as it holds no state."""

    def __init__(self, session: GraphSession, spec: HeadSpec) -> None:
        self._session = session
        self._names = head_outputs(spec)
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
            outputs = self._session.run(feeds, self._names)
        found = {name: value[0] for name, value in zip(self._names, outputs, strict=True)}
        for name, value in found.items():
            require_finite(value, name)
        arousal, valence = np.clip((found["arousal"], found["valence"]), -1.0, 1.0)
        return HeadOutput(
            found["logits"], float(arousal), float(valence), float(found["speech"]), found.get("sound")
        )
