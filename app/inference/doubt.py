"""How much more confidence poor sound needs before an emotion is named.

docs/decisions/0010-quality-widens-abstention.md says how the numbers were measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.domain import AudioQuality


@dataclass(frozen=True, slots=True)
class Ramp:
    """Doubt that grows from none at `good` to `most` at `poor`, in logits, and no further."""

    good: float
    poor: float
    most: float

    def at(self, value: float) -> float:
        """The doubt that a value brings."""
        share = (value - self.good) / (self.poor - self.good)
        return self.most * min(max(share, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Needed:
    """The confidence that an emotion needs, and why more than usual, for people; None where it is the usual."""

    confidence: float
    why: str | None = None

    def __str__(self) -> str:
        at = "" if self.why is None else f" at {self.why}"
        return f"{self.confidence:.2f} is needed{at}"


@dataclass(frozen=True, slots=True)
class DoubtRules:
    """Doubt by kind of trouble; doubts add up, and what is unknown brings none.

    silent_loss: by the share that was lost and not concealed; what is concealed needs no more confidence.
    """

    snr_db: Ramp = Ramp(good=5.0, poor=0.0, most=0.4)
    silent_loss: Ramp = Ramp(good=0.02, poor=0.5, most=0.75)
    clipped: Ramp = Ramp(good=0.06, poor=0.25, most=0.2)
    level_dbfs: Ramp = Ramp(good=-48.0, poor=-56.0, most=0.3)

    def needed(self, min_confidence: float, quality: AudioQuality) -> Needed:
        """The threshold on the posterior, moved up by the doubt on the scale of logits: 0 and 1 stay what they are."""
        silent = quality.packet_loss - quality.concealed
        doubts = {
            f"{silent * 100:.0f} % loss without concealment": self.silent_loss.at(silent),
            f"{quality.clipped * 100:.0f} % clipping": self.clipped.at(quality.clipped),
        }
        if quality.snr_db is not None:
            doubts[f"SNR {quality.snr_db:.0f} dB"] = self.snr_db.at(quality.snr_db)
        if quality.level_dbfs is not None:
            doubts[f"level {quality.level_dbfs:.0f} dBFS"] = self.level_dbfs.at(quality.level_dbfs)
        reasons = [name for name, doubt in doubts.items() if doubt > 0.0]
        if not reasons or not 0.0 < min_confidence < 1.0:
            return Needed(min_confidence)
        logit = math.log(min_confidence / (1.0 - min_confidence)) + sum(doubts.values())
        return Needed(1.0 / (1.0 + math.exp(-logit)), " and ".join(reasons))
