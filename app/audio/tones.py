"""Is this the network's own sound: dial tone, ringing, busy, SIT, fax, a beep, keys heard in the band?

Such tones are one or two sinusoids that keep their frequency and their level; voices glide. Frequencies are those of
ITU-T E.180 and its supplement 2, Q.23 (keys), Q.35 (special information tone) and T.30 (fax); levels, noise and µ-law
leave them alone. What a tone means is told by its frequencies, and for a single low one by how long it sounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from app.audio.vad import FRAME_SAMPLES
from app.domain import SAMPLE_RATE_HZ, FloatArray


class ToneKind(StrEnum):
    """What a tone says."""

    DIAL_TONE = "dial_tone"
    RINGBACK = "ringback"
    BUSY = "busy"
    SIT = "sit"
    FAX = "fax"
    DTMF = "dtmf"
    BEEP = "beep"


# What a frame holds, as a code: 0 for no tone. The three of SIT come one after the other; alone they are beeps.
_DIAL, _RING, _BUSY, _FAX, _DTMF, _BEEP, _LOW, _SIT_1, _SIT_2, _SIT_3 = range(1, 11)
_PLAIN = {
    _DIAL: ToneKind.DIAL_TONE,
    _RING: ToneKind.RINGBACK,
    _BUSY: ToneKind.BUSY,
    _FAX: ToneKind.FAX,
    _DTMF: ToneKind.DTMF,
    _BEEP: ToneKind.BEEP,
}
# A single tone: lowest and highest frequency, ±1.5 % around what is used (T.30 allows the calling tone 38 Hz).
_SINGLE = (
    (380.0, 492.0, _LOW),
    (898.0, 984.0, _SIT_1),
    (984.0, 1_016.0, _BEEP),
    (1_060.0, 1_140.0, _FAX),
    (1_280.0, 1_320.0, _FAX),
    (1_348.0, 1_452.0, _SIT_2),
    (1_748.0, 1_830.0, _SIT_3),
    (2_068.0, 2_132.0, _FAX),
)
# Two low tones overlap in the spectrum, so their peaks are known to a bin only: ranges of the lower and the upper.
_PAIRS = (
    ((312.0, 363.0), (424.0, 463.0), _DIAL),
    ((387.0, 451.0), (437.0, 501.0), _RING),
    ((462.0, 501.0), (599.0, 638.0), _BUSY),
)
_KEY_ROWS = (697.0, 770.0, 852.0, 941.0)
_KEY_COLUMNS = (1_209.0, 1_336.0, 1_477.0, 1_633.0)
_KEY_TOLERANCE = 0.02  # neighbours are 10 % apart


class ToneDetector:
    """Judges a leg's frames, one after the other, by the spectrum of the last 80 ms.

    Only frames above `GATE_DBFS` whose levels agree within 3 dB over the window cost more than a comparison and a copy.
    """

    GATE_DBFS = -50.0
    _WINDOW_FRAMES = 4
    _STEADY_DB = 3.0  # two tones 40 Hz apart beat by 2 dB from frame to frame
    _PURITY = 0.93  # share of the power in the peaks: white noise at 12 dB leaves 0.94
    _WEAKER = 0.06  # a second tone is at most 12 dB below the first
    _DRIFT_HZ = 0.5  # between windows; steady voices drift by more, a tone 12 dB above noise by a tenth
    _ENOUGH_ALIKE = 2  # times in a row: 120 ms in all. A trembling voice stands still for less
    _PAIR_DRIFT_HZ = 3.0  # of the middle of two tones, which is known less well
    _LOW_BINS = slice(24, 52)  # 300 to 640 Hz, where pairs lie that are not keys
    _LOWEST_BIN = 6  # from 75 Hz on: mains hum is no argument against a tone

    def __init__(self) -> None:
        size = self._WINDOW_FRAMES * FRAME_SAMPLES
        window = np.hanning(size + 1)[:size].astype(np.float32)
        # Frames lie in a ring: its spectrum's magnitude is the same wherever it begins, if the window turns with it.
        self._windows = [np.roll(window, (at + 1) * FRAME_SAMPLES) for at in range(self._WINDOW_FRAMES)]
        self._frames = np.zeros((self._WINDOW_FRAMES, FRAME_SAMPLES), dtype=np.float32)
        self._samples = self._frames.reshape(-1)
        self._windowed = np.zeros(size, dtype=np.float32)
        self._bin_hz = SAMPLE_RATE_HZ / size
        self._levels = [0.0] * self._WINDOW_FRAMES
        self._at = 0
        self._loud_frames = 0
        self._last = 0, 0.0  # code and frequency of the window before
        self._alike = 0

    def push(self, frame: FloatArray, energy_db: float) -> tuple[int, int]:
        """Take the leg's next frame, float32 [160], and its energy in dBFS.

        Returns:
            A code, and how many of the newest frames it holds for; (0, 0) where nothing is found.
        """
        if energy_db < self.GATE_DBFS:
            self._loud_frames = 0
            self._last = 0, 0.0
            return 0, 0
        at = self._at = (self._at + 1) % self._WINDOW_FRAMES
        self._frames[at] = frame
        self._levels[at] = energy_db
        self._loud_frames += 1
        steady = max(self._levels) - min(self._levels) <= self._STEADY_DB
        if self._loud_frames < self._WINDOW_FRAMES or not steady:
            self._last = 0, 0.0
            return 0, 0
        before, self._last = self._last, self._look()
        code, frequency = self._last
        if code == _DTMF:  # a key may be pressed for less than two windows; no voice has such a pair
            return code, self._WINDOW_FRAMES
        drift = self._PAIR_DRIFT_HZ if code <= _BUSY else self._DRIFT_HZ
        alike = code != 0 and code == before[0] and abs(frequency - before[1]) <= drift
        self._alike = self._alike + 1 if alike else 0
        if self._alike < self._ENOUGH_ALIKE:
            return 0, 0
        return code, self._WINDOW_FRAMES + self._ENOUGH_ALIKE

    def _look(self) -> tuple[int, float]:
        """What the window holds, and the frequency of a single tone, or the middle of two."""
        np.multiply(self._samples, self._windows[self._at], out=self._windowed)
        power = np.square(np.abs(np.fft.rfft(self._windowed)))
        power[: self._LOWEST_BIN] = 0.0
        enough = self._PURITY * float(power.sum())
        first, first_power = _peak(power)
        if first_power >= enough:
            frequency = _summit(power, first) * self._bin_hz
            return _named_single(frequency), frequency
        first_bin, middle = _summit(power, first), _middle(power, self._LOW_BINS)
        power[first - 2 : first + 3] = 0.0
        second, second_power = _peak(power)
        if first_power + second_power < enough or second_power < self._WEAKER * first_power:
            return 0, 0.0
        if abs(first - second) * self._bin_hz < 200.0:
            low, high = sorted((first * self._bin_hz, second * self._bin_hz))
            return _named_pair(low, high), middle * self._bin_hz
        low, high = sorted((first_bin * self._bin_hz, _summit(power, second) * self._bin_hz))
        return (_DTMF if _is(low, _KEY_ROWS) and _is(high, _KEY_COLUMNS) else 0), 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What tones there are in an utterance. tone: the kind, where it is nothing else. tone_frames: voiced ones."""

    tone: ToneKind | None
    tone_frames: int


class ToneMeter:
    """Remembers a leg's last `capacity_frames` frames, to say whether an utterance among them is but a tone.

    It is one if it holds more tone than other voice, and nowhere between its tones more than `speech_frames` of voice.
    So a word after the ringing saves the utterance, if it is long enough to be one, and a voice that holds a pure note
    for a moment keeps its utterance. Frames next to a tone are its edges and the voice detector's overhang: neither.

    Args:
        capacity_frames: as for `QualityMeter`.
        speech_frames: voice shorter than this would be no utterance by itself.
    """

    _SHARE = 0.5
    _EDGE_FRAMES = 3

    def __init__(self, capacity_frames: int, speech_frames: int) -> None:
        self._capacity = capacity_frames
        self._speech_frames = speech_frames
        self._detector = ToneDetector()
        self._next = 0
        # Written one by one, which bytearrays do five times as fast as arrays.
        self._codes = bytearray(capacity_frames)
        self._voiced = bytearray(capacity_frames)

    def push(self, index: int, frame: FloatArray, voiced: bool, energy_db: float) -> None:
        """Take a frame, float32 [160], and what `FrameVad.judge` said of it."""
        slot = index % self._capacity
        self._next = index + 1
        self._voiced[slot] = voiced
        self._codes[slot] = 0
        code, frames = self._detector.push(frame, energy_db)
        for back in range(min(frames, self._next)):
            self._codes[slot - back] = code  # below zero it goes on from the end: a ring

    def judge(self, start: int, end: int) -> Heard:
        """The tones of frames [start, end), which must be remembered."""
        slots = np.arange(start, self._next) % self._capacity
        codes = np.frombuffer(self._codes, dtype=np.uint8)[slots]
        voiced = np.frombuffer(self._voiced, dtype=np.bool_)[slots[: end - start]]
        tones = codes[: end - start] > 0
        count = int(np.count_nonzero(tones))
        if not count:
            return Heard(None, 0)
        around = _widened(codes > 0, self._EDGE_FRAMES)
        apart, worst = _between(around[: end - start], voiced)
        voiced_tones = int(np.count_nonzero(voiced & tones))
        if worst > self._speech_frames or count < self._SHARE * (count + apart):
            return Heard(None, voiced_tones)
        # A tone outlasts its utterance where the voice detector has come to take it for the line's noise.
        return Heard(_kind(codes[: end - start], _longest(around) - 2 * self._EDGE_FRAMES), voiced_tones)


_ONCE_FRAMES = 5
_RING_FRAMES = 33  # 0.66 s: busy tones sound for up to 0.6 s at a time, ringing for 0.7 s and more
_DIAL_FRAMES = 110  # 2.2 s: ringing pauses after 2 s


def _kind(codes: npt.NDArray[np.uint8], longest: int) -> ToneKind:
    """What most frames say. longest: frames of the longest unbroken tone."""
    counts = np.bincount(codes, minlength=_SIT_3 + 1)
    parts = counts[[_SIT_1, _SIT_2, _SIT_3]]
    if np.count_nonzero(parts >= _ONCE_FRAMES) >= 2:
        return ToneKind.SIT
    counts[_BEEP] += int(parts.sum())
    code = int(np.argmax(counts[1:_SIT_1])) + 1
    if code != _LOW:
        return _PLAIN[code]
    if longest >= _DIAL_FRAMES:
        return ToneKind.DIAL_TONE
    return ToneKind.RINGBACK if longest >= _RING_FRAMES else ToneKind.BUSY


def _peak(power: FloatArray) -> tuple[int, float]:
    """The strongest bin, and the power of it and two neighbours on each side: a Hann window's main lobe."""
    at = min(max(int(power.argmax()), 2), power.size - 3)
    return at, float(power[at - 2 : at + 3].sum())


def _summit(power: FloatArray, at: int) -> float:
    """Where the peak truly is, in bins: a parabola through the logarithms of three."""
    left, middle, right = (math.log(value + 1e-20) for value in power[at - 1 : at + 2].tolist())
    bend = left - 2.0 * middle + right
    return at + (0.5 * (left - right) / bend if bend < 0.0 else 0.0)


def _middle(power: FloatArray, bins: slice) -> float:
    """The centre of the power among some bins: of two steady tones it stays, of a gliding one it moves."""
    part = power[bins]
    return float(np.dot(part, np.arange(bins.start, bins.stop, dtype=np.float32))) / (
        float(part.sum()) + 1e-20
    )


def _named_single(frequency: float) -> int:
    return next((code for low, high, code in _SINGLE if low <= frequency <= high), 0)


def _named_pair(low: float, high: float) -> int:
    for (low_from, low_to), (high_from, high_to), code in _PAIRS:
        if low_from <= low <= low_to and high_from <= high <= high_to:
            return code
    return 0


def _is(frequency: float, nominal: tuple[float, ...]) -> bool:
    return any(abs(frequency - one) <= _KEY_TOLERANCE * one for one in nominal)


def _widened(flags: npt.NDArray[np.bool_], frames: int) -> npt.NDArray[np.bool_]:
    """True also within so many places of a true one."""
    wide = np.convolve(flags, np.ones(2 * frames + 1, dtype=np.int64))[frames : frames + flags.size]
    return np.asarray(wide > 0)


def _between(around: npt.NDArray[np.bool_], voiced: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Voiced frames outside of tones: in all, and in the stretch between two tones that has most."""
    stretch = np.cumsum(around)  # stands still between tones
    counts = np.bincount(stretch[voiced & ~around], minlength=1)
    return int(counts.sum()), int(counts.max())


def _longest(flags: npt.NDArray[np.bool_]) -> int:
    """Length of the longest run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return int((edges[1::2] - edges[::2]).max())
