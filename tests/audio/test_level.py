"""Energy in dBFS and the running noise floor."""

from __future__ import annotations

import numpy as np
import pytest

from app.audio.level import SILENCE_DBFS, NoiseFloor, energy_dbfs
from app.domain import FloatArray


def noise_frames(level_dbfs: float, frames: int, seed: int = 0) -> FloatArray:
    """White noise of a given level, in frames of 20 ms."""
    samples = np.random.default_rng(seed).standard_normal((frames, 160))
    return (samples * 10 ** (level_dbfs / 20)).astype(np.float32)


def heard(floor: NoiseFloor, level_dbfs: float, frames: int) -> None:
    """Let the floor hear frames of exactly this energy."""
    for _ in range(frames):
        floor.push(level_dbfs)


@pytest.mark.parametrize(("amplitude", "expected_dbfs"), [(1.0, 0.0), (0.5, -6.0206), (0.001, -60.0)])
def test_energy_is_relative_to_a_full_scale_square_wave(amplitude: float, expected_dbfs: float) -> None:
    """A square wave of amplitude a has 20 log10(a) dBFS."""
    frame = np.full(160, amplitude, dtype=np.float32) * np.where(np.arange(160) % 2, 1, -1)
    assert energy_dbfs(frame.astype(np.float32)) == pytest.approx(expected_dbfs, abs=1e-3)


def test_digital_silence_has_a_finite_level() -> None:
    """Zeros give the level of silence, not minus infinity."""
    assert energy_dbfs(np.zeros(160, dtype=np.float32)) == SILENCE_DBFS


def test_the_floor_is_unknown_in_the_first_second() -> None:
    """49 frames say too little, 50 are enough."""
    floor = NoiseFloor()
    assert floor.level_db == SILENCE_DBFS
    heard(floor, -40.0, 49)
    assert floor.floor_db is None
    heard(floor, -40.0, 1)
    assert floor.floor_db == pytest.approx(-40.0)
    assert floor.level_db == pytest.approx(-40.0)


def test_the_floor_lies_just_below_steady_noise() -> None:
    """For white noise the floor is a minimum: at most 2 dB under the noise's mean."""
    floor = NoiseFloor()
    for frame in noise_frames(-45.0, 300):
        floor.push(energy_dbfs(frame))
    assert floor.floor_db is not None
    assert -47.0 < floor.floor_db < -45.0


def test_speech_does_not_raise_the_floor_while_it_dips() -> None:
    """Loud stretches with a dip to the noise every two seconds leave the floor at the noise."""
    floor = NoiseFloor()
    for _ in range(5):
        heard(floor, -15.0, 90)
        heard(floor, -50.0, 25)
    assert floor.floor_db == pytest.approx(-50.0, abs=2.0)


def test_the_floor_follows_louder_noise_within_three_and_a_half_seconds() -> None:
    """When the noise rises for good, the floor rises with it."""
    floor = NoiseFloor()
    heard(floor, -60.0, 200)
    heard(floor, -30.0, 175)
    assert floor.floor_db == pytest.approx(-30.0, abs=0.01)


def test_a_short_hole_says_nothing_of_the_noise() -> None:
    """Lost packets, 0.4 s of zeros, leave the floor at the noise."""
    floor = NoiseFloor()
    heard(floor, -40.0, 100)
    heard(floor, SILENCE_DBFS, 20)
    assert floor.floor_db == pytest.approx(-40.0)


def test_long_digital_silence_is_the_sound_of_the_line() -> None:
    """A muted line has the floor of silence."""
    floor = NoiseFloor()
    heard(floor, -40.0, 100)
    heard(floor, SILENCE_DBFS, 150)
    assert floor.floor_db is not None
    assert floor.floor_db < -90.0
