"""Network tones are audible, bounded and what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest

from training.data import tones


def test_tones_are_never_silent_and_never_clip() -> None:
    """Every tone has hiss at least, most have more, none reaches full scale; seeds repeat them."""
    made = [tones.network_tone(np.random.default_rng(seed), 1.5) for seed in range(200)]
    levels = np.array([20 * np.log10(np.sqrt(np.mean(np.square(tone)))) for tone in made])
    assert all(len(tone) == 12_000 and tone.dtype == np.float32 for tone in made)
    assert levels.min() > -80
    assert (levels > -35).mean() > 0.85
    assert max(float(np.abs(tone).max()) for tone in made) < 1.0
    assert np.array_equal(made[3], tones.network_tone(np.random.default_rng(3), 1.5))


def test_digits_are_two_tones() -> None:
    """A DTMF digit has one peak in the low group and one in the high group."""
    audio = tones._dtmf(np.random.default_rng(0), 8_000)
    on = int(np.flatnonzero(audio == 0)[1:][0]) if (audio[1:] == 0).any() else 8_000
    spectrum = np.abs(np.fft.rfft(audio[:on], 8_000))
    low, high = spectrum[600:1_000].argmax() + 600, spectrum[1_100:1_700].argmax() + 1_100
    assert min(abs(low - f) for f in tones.DTMF_LOW) < 12
    assert min(abs(high - f) for f in tones.DTMF_HIGH) < 12


def test_a_cadence_is_on_for_its_share() -> None:
    """Half a second on, half off."""
    assert tones._cadence(80_000, (0.5, 0.5), 0.2).mean() == 0.5


def test_a_cadence_may_have_several_parts() -> None:
    """British ringing: two short bursts, then two seconds of rest."""
    once = tones._cadence(24_000, (0.4, 0.2, 0.4, 2.0), 0.0)
    edges = np.flatnonzero(np.diff(once)) + 1
    assert edges.tolist() == pytest.approx([3_200, 4_800, 8_000], abs=1)
    assert once[0] == 1.0


def test_information_tones_rise() -> None:
    """Three tones one after another, each a third of a second."""
    third = 8_000 // 3
    audio = tones._information(3 * third)
    peaks = [int(np.abs(np.fft.rfft(audio[i * third : (i + 1) * third], 8_000)).argmax()) for i in range(3)]
    assert peaks == pytest.approx(list(tones.INFORMATION_HZ), abs=2)


def test_tones_of_other_countries_are_never_trained_on() -> None:
    """The patterns kept for measuring are none of those that training draws from."""
    assert not set(tones.UNHEARD) & set(tones.PROGRESS)
    for frequencies, cadence in (*tones.PROGRESS, *tones.UNHEARD):
        assert len(cadence) % 2 == 0
        assert all(50 < f < 3_900 for f in frequencies)
    made = tones.network_tone(np.random.default_rng(0), 1.0, tones.UNHEARD)
    assert len(made) == 8_000
