"""Doubt: poor sound never needs less confidence than good sound, and never makes an emotion impossible or free."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import AudioQuality
from app.inference.doubt import DoubtRules, Needed, Ramp

RULES = DoubtRules()
CLEAN = AudioQuality(snr_db=30.0, clipped=0.0, packet_loss=0.0, level_dbfs=-26.0)
shares = st.floats(0.0, 1.0)
qualities = st.builds(
    AudioQuality,
    snr_db=st.none() | st.floats(-10.0, 60.0),
    clipped=shares,
    packet_loss=shares,
    level_dbfs=st.none() | st.floats(-100.0, 0.0),
)


def test_a_ramp_is_flat_on_either_side() -> None:
    """None where it is good, all of it where it is poor, in either direction."""
    falling, rising = Ramp(10.0, 0.0, 0.5), Ramp(0.1, 0.3, 1.0)
    assert [falling.at(value) for value in (40.0, 10.0, 5.0, 0.0, -9.0)] == [0.0, 0.0, 0.25, 0.5, 0.5]
    assert [rising.at(value) for value in (0.0, 0.1, 0.2, 0.3, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])


@given(st.floats(0.0, 1.0))
def test_clean_and_unknown_sound_need_the_usual(threshold: float) -> None:
    """A file without a known floor or level is not doubted."""
    for quality in (CLEAN, AudioQuality(None, 0.0, 0.0)):
        assert RULES.needed(threshold, quality) == Needed(threshold)


@given(st.floats(0.001, 0.999), qualities, st.floats(0.0, 40.0), shares, shares, st.floats(0.0, 60.0))
def test_worse_sound_never_needs_less(
    threshold: float, quality: AudioQuality, noise: float, clipped: float, lost: float, softer: float
) -> None:
    """Each kind of trouble only ever adds; the threshold stays between the usual and 1."""
    worse = replace(
        quality,
        snr_db=None if quality.snr_db is None else quality.snr_db - noise,
        clipped=max(quality.clipped, clipped),
        packet_loss=max(quality.packet_loss, lost),
        level_dbfs=None if quality.level_dbfs is None else quality.level_dbfs - softer,
    )
    before, after = (RULES.needed(threshold, one).confidence for one in (quality, worse))
    assert threshold - 1e-12 <= before <= after + 1e-12
    assert after < 1.0


@given(qualities)
def test_never_and_always_stay_so(quality: AudioQuality) -> None:
    """A site that wants every emotion, or none, is obeyed."""
    assert RULES.needed(0.0, quality) == Needed(0.0)
    assert RULES.needed(1.0, quality) == Needed(1.0)


def test_what_was_concealed_is_not_doubted() -> None:
    """Scattered packets cost no accuracy at a given confidence; a hole of half the utterance does."""
    scattered = replace(CLEAN, packet_loss=0.4, concealed=0.39)
    assert RULES.needed(0.3, scattered) == Needed(0.3)
    assert RULES.needed(0.3, replace(scattered, concealed=0.03)).confidence > 0.4


def test_doubts_add_up_on_the_scale_of_logits() -> None:
    """Half of one kind and all of another, hand-computed from a threshold of a half; the words name both."""
    rules = DoubtRules(snr_db=Ramp(10.0, 0.0, 0.5), silent_loss=Ramp(0.0, 0.2, 1.0))
    needed = rules.needed(0.5, replace(CLEAN, snr_db=5.0, packet_loss=0.3, concealed=0.1))
    assert needed.confidence == pytest.approx(1 / (1 + 2.718281828**-1.25))
    assert str(needed) == "0.78 is needed at 20 % loss without concealment and SNR 5 dB"
    assert str(rules.needed(0.5, CLEAN)) == "0.50 is needed"


def test_every_kind_of_trouble_is_told() -> None:
    """Where it matters, the words name it."""
    poor = AudioQuality(snr_db=1.0, clipped=0.5, packet_loss=0.5, level_dbfs=-60.0)
    assert str(RULES.needed(0.3, poor)).endswith(
        "at 50 % loss without concealment and 50 % clipping and SNR 1 dB and level -60 dBFS"
    )
