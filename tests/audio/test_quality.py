"""The quality meter against audio of known noise, clipping and loss."""

from __future__ import annotations

import numpy as np
import pytest

from app.audio.g711 import decode_alaw, decode_ulaw, pcm_to_float
from app.audio.level import energy_dbfs
from app.audio.quality import QualityMeter
from app.domain import FloatArray
from tests.audio.speech import babble, frames_of, hiss


def metered(
    samples: FloatArray, speech: range, lost: range = range(0), capacity: int = 1_000
) -> QualityMeter:
    """A meter that has heard the samples, speech and lost frames being known."""
    meter = QualityMeter(capacity)
    for index, frame in enumerate(frames_of(samples)):
        lost_samples = 160 if index in lost else 0
        meter.push(index, frame, index in speech, energy_dbfs(frame), lost_samples)
    return meter


def line(snr_db: float) -> FloatArray:
    """Three seconds of a fan at -55 dBFS, then two of speech over it."""
    samples = hiss(5.0, -55.0)
    samples[24_000:] += babble(2.0, -55.0 + snr_db)
    return samples


@pytest.mark.parametrize("snr_db", [5.0, 10.0, 20.0, 30.0])
def test_snr_is_that_of_the_mixture(snr_db: float) -> None:
    """Speech of known power over steady noise of known power is measured within 2 dB."""
    quality = metered(line(snr_db), range(150, 250)).measure(150, 250)
    assert quality.snr_db == pytest.approx(snr_db, abs=2.0)
    assert (quality.clipped, quality.packet_loss) == (0.0, 0.0)


def test_snr_is_unknown_without_half_a_second_of_quiet() -> None:
    """A clip of nothing but speech shows no noise floor."""
    assert metered(babble(3.0), range(150)).measure(0, 150).snr_db is None


def test_snr_is_unknown_in_the_first_second() -> None:
    """An utterance that ends before the floor is known has no ratio."""
    assert metered(hiss(0.9, -40.0), range(30, 45)).measure(30, 45).snr_db is None


def test_snr_over_digital_silence_is_limited() -> None:
    """A line without any noise gives the largest ratio, a finite one."""
    samples = np.zeros(40_000, dtype=np.float32)
    samples[24_000:] = babble(2.0)
    assert metered(samples, range(150, 250)).measure(150, 250).snr_db == 60.0


def test_noise_alone_gives_the_lowest_ratio() -> None:
    """Something softer than the floor's mean has no power of its own."""
    steady = np.tile(np.array([0.01, -0.01], dtype=np.float32), 20_000)
    assert metered(steady, range(150, 250)).measure(150, 250).snr_db == -10.0


def test_clipping_is_the_share_of_full_scale_samples() -> None:
    """A quarter of the samples at full scale is 0.25, either sign."""
    samples = np.tile(np.array([1.0, 0.1, -1.0, 0.1, 0.2, 0.1, 0.3, 0.1], dtype=np.float32), 1_000)
    assert metered(samples, range(50)).measure(0, 50).clipped == 0.25


def test_the_loudest_codes_of_both_laws_count_as_clipped() -> None:
    """G.711's top values lie below 1.0 and are full scale all the same; the next ones are not."""
    loudest = pcm_to_float(np.concatenate([decode_ulaw(_codes(0x80, 0x00)), decode_alaw(_codes(0xAA, 0x2A))]))
    quieter = pcm_to_float(np.concatenate([decode_ulaw(_codes(0x81, 0x01)), decode_alaw(_codes(0xAB, 0x2B))]))
    assert metered(np.tile(loudest, 40), range(1)).measure(0, 1).clipped == 1.0
    assert metered(np.tile(quieter, 40), range(1)).measure(0, 1).clipped == 0.0


def test_loss_is_the_share_of_filled_samples_and_leaves_the_ratio_alone() -> None:
    """Lost frames count as loss, and their zeros do not make the speech look soft."""
    samples = line(20.0)
    whole = metered(samples, range(150, 250)).measure(150, 250)
    samples[160 * 160 : 170 * 160] = 0.0
    holed = metered(samples, range(150, 250), lost=range(160, 170)).measure(150, 250)
    assert holed.packet_loss == 0.1
    assert holed.snr_db == pytest.approx(whole.snr_db, abs=1.0)


def test_an_utterance_of_nothing_but_loss_has_no_ratio() -> None:
    """When all of it was filled in, there is nothing to compare."""
    quality = metered(line(20.0), range(150, 250), lost=range(150, 250)).measure(150, 250)
    assert (quality.snr_db, quality.packet_loss) == (None, 1.0)
    assert quality.level_dbfs is None


@pytest.mark.parametrize("level_dbfs", [-20.0, -35.0, -50.0])
def test_the_level_is_that_of_what_is_spoken(level_dbfs: float) -> None:
    """Mean power of voiced frames: silence around the speech and holes in it do not make it softer."""
    samples = hiss(5.0, -70.0)
    samples[24_000:] += babble(2.0, level_dbfs)
    samples[200 * 160 : 210 * 160] = 0.0
    quality = metered(samples, range(150, 250), lost=range(200, 210)).measure(100, 250)
    assert quality.level_dbfs == pytest.approx(level_dbfs, abs=1.5)
    assert metered(samples, range(0)).measure(100, 250).level_dbfs is None


def test_concealed_is_a_part_of_what_was_lost_and_no_noise() -> None:
    """Half of each lost frame concealed is half the loss; what was made is not taken for the line's noise."""
    meter = QualityMeter(1_000)
    for index, frame in enumerate(frames_of(line(20.0))):
        lost = 160 if index in range(100, 140) or index in range(200, 210) else 0
        heard = frame * np.float32(0.01) if lost else frame
        meter.push(index, heard, 150 <= index < 250, energy_dbfs(heard), lost, lost // 2)
    quality = meter.measure(150, 250)
    assert (quality.packet_loss, quality.concealed) == (0.1, 0.05)
    assert quality.snr_db == pytest.approx(20.0, abs=2.0)


def test_the_codec_is_passed_on() -> None:
    """The meter hears samples; how they were sent is told to it."""
    assert metered(line(20.0), range(150, 250)).measure(150, 250, "pcm_alaw/8000").codec == "pcm_alaw/8000"


def test_only_the_last_frames_are_remembered() -> None:
    """What has left the memory is refused rather than read from later frames."""
    meter = metered(line(20.0), range(150, 250), capacity=100)
    assert meter.measure(150, 250).snr_db == pytest.approx(20.0, abs=2.0)
    for start, end in [(149, 250), (150, 251), (200, 200)]:
        with pytest.raises(ValueError, match="not all among the last 100 before 250"):
            meter.measure(start, end)


def test_frame_numbers_may_leave_a_hole() -> None:
    """After a pause the numbers go on further up."""
    meter = QualityMeter(100)
    frame = np.full(160, 0.1, dtype=np.float32)
    for index in [*range(60), *range(1_000, 1_060)]:
        meter.push(index, frame, True, -20.0)
    assert meter.measure(1_000, 1_060).clipped == 0.0


def test_a_meter_needs_room() -> None:
    """A memory of no frames is refused."""
    with pytest.raises(ValueError, match="got 0"):
        QualityMeter(0)


def _codes(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array(values, dtype=np.uint8)
