"""A track of a call: the legs that share its packets and its clock, from packets of any length to leg events.

The legs of a track advance together in frames of 20 ms, so events never depend on how audio was cut into messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.accounting import Kind, Timeline
from app.audio.conceal import Concealer
from app.audio.framing import Deinterleaver, Framer, SampleClock
from app.audio.resample import StreamingResampler
from app.audio.vad import FRAME_SAMPLES
from app.domain import AudioFormat, AudioPacket, Encoding, FloatArray
from app.leg import LegEvent, LegTracker


@dataclass(frozen=True, slots=True)
class GapLimits:
    """What becomes of holes in a sender's clock, in seconds.

    filled_s: up to this a hole is concealed, and after 60 ms silent, inside the utterance; a longer one ends it, and
    its time counts as lost without being heard. believed_s: a jump beyond this is no hole, but a clock that was set
    anew.
    """

    filled_s: float = 10.0
    believed_s: float = 3_600.0


class Lane:
    """One track. `legs`: in the order of its channels. `paused` is the call's: its audio is dropped at the door."""

    def __init__(self, audio_format: AudioFormat, legs: Sequence[LegTracker], limits: GapLimits) -> None:
        self._legs = legs
        self._limits = limits
        self._framers = [Framer(FRAME_SAMPLES) for _ in legs]
        self._timeline = Timeline(audio_format.sample_rate_hz)
        self._open(audio_format.encoding, audio_format.sample_rate_hz)

    @property
    def pending_bytes(self) -> int:
        """Bytes of an unfinished sample instant."""
        return self._deinterleaver.pending_bytes

    def push(self, packet: AudioPacket, paused: bool) -> tuple[list[LegEvent], list[tuple[str, str]]]:
        """Take audio, broken sample instants included; leg events, and warnings as (code, detail)."""
        if packet.position_samples is not None:
            self._deinterleaver.drop_tail()
        channels = self._deinterleaver.push(packet.payload)
        if not channels[0].size:
            return [], []
        aligned = self._clock.align(packet.position_samples, channels)
        events: list[LegEvent] = []
        warnings: list[tuple[str, str]] = []
        if aligned.restarted:
            warnings.append(("clock_restarted", "the sender's sample clock was set anew; audio follows on"))
        if aligned.skipped_samples:
            missing = round(aligned.skipped_samples / self._rate_hz, 3)
            warnings.append(("long_gap", f"{missing} s are missing, too long to be heard as silence"))
            events += self._pass(aligned.skipped_samples, Kind.PAUSED if paused else Kind.LOST)
        if paused:
            return events + self._skip(aligned.channels[0].size, Kind.PAUSED), warnings
        if aligned.filled_samples:
            concealed = self._concealer.fill(aligned.channels, aligned.filled_samples)
            self._timeline.add(Kind.CONCEALED, concealed)
            self._timeline.add(Kind.LOST, aligned.filled_samples - concealed)
        if packet.position_samples is not None:  # there are no holes without
            self._concealer.hear(aligned.channels)
        self._timeline.add(Kind.HEARD, aligned.channels[0].size - aligned.filled_samples)
        legs = zip(self._resamplers, aligned.channels, strict=True)
        return events + self._advance([resampler.push(samples) for resampler, samples in legs]), warnings

    def begin(self, position_samples: int) -> None:
        """Let the track's time begin at a position, where it has not begun yet."""
        self._clock.begin(position_samples)

    def gap(self, samples: int, until_samples: int | None, paused: bool) -> list[LegEvent]:
        """Let time pass for which no audio comes: the utterance in flight ends, the time counts as lost or paused."""
        missing = self._clock.skip(samples, until_samples)
        return self._pass(missing, Kind.PAUSED if paused else Kind.LOST) if missing else []

    def reformat(self, encoding: Encoding, sample_rate_hz: int) -> list[LegEvent]:
        """The audio that follows is written otherwise; the utterance in flight ends."""
        events = self.flush()
        self._timeline.restart(sample_rate_hz)
        self._open(encoding, sample_rate_hz)
        return events

    def flush(self) -> list[LegEvent]:
        """End the utterance in flight here; less than a frame of its last audio stays behind."""
        events = self._advance([resampler.flush() for resampler in self._resamplers])
        self._timeline.restart()
        for leg in self._legs:
            events.extend(leg.flush())
        return events

    def restart(self) -> None:
        """Count anew from here, after a pause."""
        self._timeline.restart()
        self._concealer.forget()

    def end(self) -> None:
        """Count the last samples, too few for a frame."""
        rest = self._timeline.take(self._framers[0].pending_samples)
        for leg in self._legs:
            leg.end(rest)

    def _open(self, encoding: Encoding, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._deinterleaver = Deinterleaver(encoding, len(self._legs))
        limits = self._limits
        self._clock = SampleClock(int(limits.filled_s * rate_hz), int(limits.believed_s * rate_hz))
        self._concealer = Concealer(rate_hz)
        self._resamplers = [StreamingResampler(rate_hz) for _ in self._legs]
        for leg in self._legs:
            leg.sent_as(encoding.at(rate_hz))

    def _advance(self, resampled: list[FloatArray]) -> list[LegEvent]:
        """Frame what came and step the legs in lockstep."""
        framed = [framer.push(samples) for framer, samples in zip(self._framers, resampled, strict=True)]
        events: list[LegEvent] = []
        for frames in zip(*framed, strict=True):
            counts = self._timeline.take(FRAME_SAMPLES)
            for leg, frame in zip(self._legs, frames, strict=True):
                events.extend(leg.step(frame, counts))
        return events

    def _pass(self, in_samples: int, kind: Kind) -> list[LegEvent]:
        """End the utterance in flight, and let time pass."""
        events = self.flush() + self._skip(in_samples, kind)
        self._timeline.restart()
        self._concealer.forget()
        return events

    def _skip(self, in_samples: int, kind: Kind) -> list[LegEvent]:
        """Let time pass unheard, after a flush: silence up to the frame grid, whole frames, silence again."""
        samples = self._timeline.add(kind, in_samples)
        head = min(samples, -self._framers[0].pending_samples % FRAME_SAMPLES)
        events = self._advance([np.zeros(head, dtype=np.float32) for _ in self._legs])
        frames, tail = divmod(samples - head, FRAME_SAMPLES)
        if frames:
            counts = self._timeline.take(frames * FRAME_SAMPLES)
            for leg in self._legs:
                leg.skip(frames, counts)
        return events + self._advance([np.zeros(tail, dtype=np.float32) for _ in self._legs])
