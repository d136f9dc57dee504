"""The simulated line does what it says, by the service's own codecs, and repeats with its seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio import g711
from training.data import telephony
from training.data.telephony import CLEAN, TelephonyConfig, simulate

EVERYTHING = TelephonyConfig(
    room_chance=1, noise_chance=1, band_chance=1, coarse_chance=1, loss_chance=1, clip_chance=0.5
)


def voice(samples: int = 16_000, seed: int = 0) -> telephony.Audio:
    """A buzz with noise at about -20 dBFS, float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 8_000
    tone = sum(np.sin(2 * np.pi * 130 * h * t) / h for h in range(1, 20))
    return np.asarray(0.07 * tone + 0.01 * rng.standard_normal(samples), dtype=np.float32)


def decibel(audio: telephony.Audio) -> float:
    """RMS in dBFS."""
    return 20 * np.log10(telephony.rms(audio))


@given(seed=st.integers(0, 10_000), samples=st.integers(161, 4_000))
@settings(max_examples=30, deadline=None)
def test_a_seed_is_one_line(seed: int, samples: int) -> None:
    """The same seed gives the same sound, of the same length, within full scale."""
    noises = [voice(3_000, 5), voice(500, 6)]
    audio = voice(samples)
    one, other = (
        simulate(audio, slice(None), EVERYTHING, np.random.default_rng(seed), noises) for _ in range(2)
    )
    assert np.array_equal(one, other)
    assert one.dtype == np.float32
    assert one.shape == audio.shape
    assert float(np.abs(one).max()) <= 1.0


def test_other_seeds_are_other_lines() -> None:
    """Clips don't all go through one line."""
    heard = [simulate(voice(), slice(None), TelephonyConfig(), np.random.default_rng(s)) for s in range(8)]
    assert len({audio.tobytes() for audio in heard}) == 8


@pytest.mark.parametrize("gain", [0.01, 1.0, 3.0])
def test_the_clean_line_is_a_level_and_mu_law(gain: float) -> None:
    """Whatever the recording's level, -26 dBFS over the active part, then the service's own µ-law."""
    active = slice(4_000, 12_000)
    heard = simulate(voice() * np.float32(gain), active, CLEAN, np.random.default_rng(0))
    assert decibel(heard[active]) == pytest.approx(-26, abs=0.1)
    pcm = g711.float_to_pcm(telephony.set_level(voice() * np.float32(gain), active, -26.0))
    assert np.array_equal(heard, g711.pcm_to_float(g711.decode_ulaw(g711.encode_ulaw(pcm))))


def test_a_law_is_the_services_own() -> None:
    """With A-law for certain every sample is a value that A-law has."""
    heard = simulate(voice(), slice(None), replace(CLEAN, alaw_chance=1.0), np.random.default_rng(0))
    pcm = g711.float_to_pcm(heard)
    assert np.array_equal(g711.decode_alaw(g711.encode_alaw(pcm)), pcm)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_lies_at_the_ratio_asked_for(snr_db: float) -> None:
    """SNR over the active part, within half a decibel, even where the noise is short and must be repeated."""
    noise = (0.3 * np.random.default_rng(1).standard_normal(5_000)).astype(np.float32)
    clean, active = voice(), slice(2_000, 14_000)
    mixed = telephony.add_noise(clean, noise, active, snr_db, np.random.default_rng(2))
    added = mixed - clean
    assert decibel(clean[active]) - decibel(added[active]) == pytest.approx(snr_db, abs=0.5)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_the_share_of_lost_packets(share: float) -> None:
    """About the share asked for is lost, in whole packets, in bursts of more than one."""
    audio = np.full(160 * 20_000, 0.5, np.float32)
    heard = telephony.lose_packets(audio, share, np.random.default_rng(0))
    lost = (heard.reshape(-1, 160) != 0.5).all(axis=1)
    assert ((heard.reshape(-1, 160) != 0.5).any(axis=1) == lost).all()
    assert lost.mean() == pytest.approx(share, rel=0.15)
    assert (lost[1:] & lost[:-1]).mean() > 2 * share**2


def test_lost_packets_are_silence_or_the_fading_last_one() -> None:
    """Half of the clips hear gaps, the other half their last packet again, weaker each time."""
    audio = np.full(160 * 400, 0.5, np.float32)
    kinds = set()
    for seed in range(20):
        heard = telephony.lose_packets(audio, 0.2, np.random.default_rng(seed)).reshape(-1, 160)
        lost = heard[1:][(heard[1:] != 0.5).all(axis=1)]
        kinds.add("gap" if not lost.any() else "faded")
        assert lost.any() in (False, True)
        assert not lost.any() or set(np.round(np.log(lost / 0.5) / np.log(0.7), 3).flatten()) <= set(range(9))
    assert kinds == {"gap", "faded"}


def test_the_band_is_limited() -> None:
    """What lies outside the telephone band is gone, what lies inside is kept."""
    config = replace(CLEAN, band_chance=1.0, linear_chance=1.0, low_hz=(300, 300), high_hz=(3_400, 3_400))
    noise = np.random.default_rng(0).standard_normal(80_000).astype(np.float32)
    heard = simulate(noise, slice(None), config, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(heard.reshape(-1, 8_000), axis=1)).mean(axis=0)
    inside = spectrum[1_000:2_000].mean()
    assert spectrum[40:100].mean() < 0.1 * inside
    assert spectrum[3_900:].mean() < 0.1 * inside


def test_a_room_lengthens_and_keeps_the_start() -> None:
    """A click has its direct path first and a tail that decays behind it."""
    click = np.zeros(4_000, np.float32)
    click[100] = 1.0
    heard = telephony.reverberate(click, 0.3, np.random.default_rng(0))
    assert heard[100] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(heard[:100]).max() < 1e-6
    assert telephony.rms(heard[101:700]) > 4 * telephony.rms(heard[1_900:2_500]) > 0
