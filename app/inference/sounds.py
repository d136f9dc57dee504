"""What kind of sound an utterance is: which event to name, and what it was where it is not speech."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.bundle.manifest import SoundsSpec
from app.domain import FloatArray


class SoundNames:
    """Reads a head's sound logits by the manifest's names and roles; holds no state."""

    def __init__(self, spec: SoundsSpec) -> None:
        self._names = tuple(kind.name for kind in spec.kinds)
        self._events = self._places(spec.of("event"))
        self._rejected = self._places(spec.of("rejected"))
        self._threshold = spec.event_threshold

    def event(self, sound: FloatArray) -> tuple[str, float] | None:
        """The likeliest event and its posterior among all kinds, where that reaches the bundle's threshold.

        Args:
            sound: logits [S], in the order of the manifest.
        """
        if not len(self._events):
            return None
        posterior = np.exp(sound.astype(np.float64) - float(sound.max()))
        posterior /= posterior.sum()
        place = int(self._events[np.argmax(posterior[self._events])])
        if posterior[place] < self._threshold:
            return None
        return self._names[place], float(posterior[place])

    def rejected(self, sound: FloatArray) -> str:
        """The likeliest of the kinds that must not be scored: a record's `not_speech_kind`."""
        return self._names[int(self._rejected[np.argmax(sound[self._rejected])])]

    def _places(self, names: tuple[str, ...]) -> npt.NDArray[np.intp]:
        return np.array([self._names.index(name) for name in names], dtype=np.intp)
