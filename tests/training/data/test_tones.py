"""Network tones are audible, bounded and what they claim to be."""

from __future__ import annotations

import numpy as np

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
    assert tones._cadence(80_000, 0.5, 0.5, 0.2).mean() == 0.5
