"""How good one utterance sounded: signal to noise, clipping, loss, level."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from app.audio.level import NoiseFloor
from app.audio.vad import FRAME_SAMPLES
from app.domain import AudioQuality, FloatArray

_Decibels = npt.NDArray[np.float64]


class QualityMeter:
    """Remembers a leg's last `capacity_frames` frames, to say how good any utterance among them sounded.

    `EndpointConfig.max_frames` is capacity enough to measure each utterance when it ends.

    snr_db compares the utterance's mean power with the lower noise floor of its two ends. It is None until
    the leg has been quiet for 0.5 s in all: before that the floor is only speech's own dips. On speech in
    recorded noises (offices, cafés, streets, trains) it reads 0.5 dB high at 20 dB, 1 at 10, 2 at 5, ± 2 dB.

    Raises:
        ValueError: no capacity, or an utterance that is not (wholly) remembered.
    """

    _CLIPPED = np.float32(0.98)  # the top code of µ-law is 0.9804 of full scale, of A-law 0.9844
    _FLOOR_BIAS_DB = 2.0  # minimum against mean: 1 dB in white noise, 3 dB in cafés and streets
    _LEAST_QUIET_FRAMES = 25
    _SNR_RANGE_DB = (-10.0, 60.0)

    def __init__(self, capacity_frames: int) -> None:
        if capacity_frames < 1:
            raise ValueError(f"capacity_frames must be at least 1, got {capacity_frames}")
        self._capacity = capacity_frames
        self._floor = NoiseFloor()
        self._next_frame = 0
        self._quiet_frames = 0
        self._energy_db = np.zeros(capacity_frames)
        self._floor_db = np.zeros(capacity_frames)
        self._clipped = np.zeros(capacity_frames, dtype=np.int64)
        self._lost = np.zeros(capacity_frames, dtype=np.int64)
        self._concealed = np.zeros(capacity_frames, dtype=np.int64)
        self._voiced = np.zeros(capacity_frames, dtype=np.bool_)
        self._magnitude = np.zeros(FRAME_SAMPLES, dtype=np.float32)

    def push(
        self,
        frame_index: int,
        frame: FloatArray,
        voiced: bool,
        energy_db: float,
        lost_samples: int = 0,
        concealed_samples: int = 0,
    ) -> None:
        """Take a frame, float32 [160], what `FrameVad.judge` said of it, and how much of it was lost, and concealed.

        Frame numbers rise; they may leave out frames that are in no utterance.
        """
        slot = frame_index % self._capacity
        self._next_frame = frame_index + 1
        if not lost_samples:  # what was made here says nothing of the line's noise
            self._floor.push(energy_db)
        floor_db = self._floor.floor_db
        self._energy_db[slot] = energy_db
        self._floor_db[slot] = math.nan if floor_db is None else floor_db
        self._lost[slot] = lost_samples
        self._concealed[slot] = concealed_samples
        self._voiced[slot] = voiced
        magnitude = np.abs(frame, out=self._magnitude)
        loud = magnitude.max() >= self._CLIPPED
        self._clipped[slot] = np.count_nonzero(magnitude >= self._CLIPPED) if loud else 0
        if not voiced and not lost_samples:
            self._quiet_frames += 1

    def measure(self, start_frame: int, end_frame: int, codec: str | None = None) -> AudioQuality:
        """Judge the utterance [start_frame, end_frame); codec: how it was sent, for the record."""
        if not max(0, self._next_frame - self._capacity) <= start_frame < end_frame <= self._next_frame:
            raise ValueError(
                f"frames [{start_frame}, {end_frame}) are not all among the last {self._capacity} "
                f"before {self._next_frame}"
            )
        slots = np.arange(start_frame, end_frame) % self._capacity
        samples = slots.size * FRAME_SAMPLES
        lost = self._lost[slots]
        floors = self._floor_db[slots[[0, -1]]]
        return AudioQuality(
            snr_db=self._snr_db(self._energy_db[slots[lost == 0]], floors[~np.isnan(floors)]),
            clipped=round(float(self._clipped[slots].sum()) / samples, 4),
            packet_loss=round(float(lost.sum()) / samples, 4),
            level_dbfs=_level_dbfs(self._energy_db[slots[self._voiced[slots] & (lost == 0)]]),
            concealed=round(float(self._concealed[slots].sum()) / samples, 4),
            codec=codec,
        )

    def _snr_db(self, energies_db: _Decibels, floors_db: _Decibels) -> float | None:
        if self._quiet_frames < self._LEAST_QUIET_FRAMES or not energies_db.size or not floors_db.size:
            return None
        noise = 10.0 ** ((float(floors_db.min()) + self._FLOOR_BIAS_DB) / 10.0)
        speech = float(np.mean(10.0 ** (energies_db / 10.0))) - noise
        lowest, highest = self._SNR_RANGE_DB
        if speech <= 0.0:
            return lowest
        return round(min(max(10.0 * math.log10(speech / noise), lowest), highest), 1)


def _level_dbfs(energies_db: _Decibels) -> float | None:
    """Mean power of these frames."""
    return (
        round(10.0 * math.log10(float(np.mean(10.0 ** (energies_db / 10.0)))), 1)
        if energies_db.size
        else None
    )
