"""Files with a talking face: what is written comes back in time, and what is not one is named."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tests.training import made_faces
from training.corpora.errors import CorpusError
from training.data.talking import at_25_fps, read_talking, write_talking


def clicks(seconds: float, every_s: float, rate: int = 16_000) -> np.ndarray:
    """A burst of noise of 40 ms at every so many seconds."""
    sound = np.zeros(round(seconds * rate), np.float32)
    rng = np.random.default_rng(0)
    for at in np.arange(every_s, seconds - 0.1, every_s):
        start = round(at * rate)
        sound[start : start + rate // 25] = 0.3 * rng.standard_normal(rate // 25)
    return sound


def test_sound_and_picture_stay_together(tmp_path: Path) -> None:
    """A flash and a click at the same moments still coincide after H.264 and AAC: no priming is left in."""
    sound = clicks(2.0, 0.4)
    loud = np.square(sound.reshape(-1, 640)).mean(axis=1) > 1e-3
    frames = np.full((50, 96, 96), 60, np.uint8)
    frames[loud] = 200
    write_talking(tmp_path / "a.mp4", sound, 16_000, frames)
    read = read_talking(tmp_path / "a.mp4")
    assert read.rate_hz == 16_000
    assert read.frames.shape == (50, 96, 96)
    assert len(read.sound) == 32_000
    bright = read.frames.mean(axis=(1, 2)) > 130
    assert np.array_equal(bright, loud)
    heard = np.square(read.sound.reshape(-1, 640)).mean(axis=1)
    assert heard[loud].min() > 5 * heard[~loud].max()


def test_pictures_keep_their_grey_levels(tmp_path: Path) -> None:
    """The luminance plane is what was drawn, within the codec's noise."""
    frames = made_faces.faces(25, 170.0)
    write_talking(tmp_path / "a.mp4", clicks(1.0, 0.3), 16_000, frames)
    read = read_talking(tmp_path / "a.mp4").frames
    assert float(np.abs(read.astype(float) - frames).mean()) < 4


def test_both_streams_are_cut_to_the_shorter(tmp_path: Path) -> None:
    """With half a second more of sound, or of picture."""
    for seconds, count in ((1.5, 25), (1.0, 38)):
        write_talking(tmp_path / "a.mp4", clicks(seconds, 0.3), 16_000, made_faces.faces(count, 170.0))
        read = read_talking(tmp_path / "a.mp4")
        assert 25 <= len(read.frames) <= 27
        assert len(read.sound) == len(read.frames) * 640


@pytest.mark.parametrize(("fps", "count"), [(12.5, 25), (25.0, 50), (30.0, 60), (50.0, 100)])
def test_other_frame_rates_become_25(fps: float, count: int) -> None:
    """Two seconds are 50 pictures; each is the one on show at that moment."""
    frames = np.arange(count, dtype=np.uint8)[:, None, None]
    made = at_25_fps(frames, 3.0 + np.arange(count) / fps)
    assert len(made) == 50
    wanted = np.floor((np.arange(50) + 0.5) / 25 * fps + 0.01)
    np.testing.assert_array_equal(made[:, 0, 0], wanted)


def test_what_is_not_a_talking_face_is_named(tmp_path: Path) -> None:
    """Bytes that are no video, a sound without a picture, and no file at all."""
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with pytest.raises(CorpusError, match=r"a\.mp4: not a video file"):
        read_talking(tmp_path / "a.mp4")
    soundfile.write(tmp_path / "b.wav", np.zeros(1600, np.float32), 16_000)
    with pytest.raises(CorpusError, match="a picture and a sound"):
        read_talking(tmp_path / "b.wav")
    with pytest.raises(CorpusError, match=r"c\.mp4: not a video file"):
        read_talking(tmp_path / "c.mp4")


def test_colour_video_is_read_as_grey(tmp_path: Path) -> None:
    """Whatever the pixel format: its luminance."""
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        video = file.add_stream("ffv1", rate=25)
        video.width = video.height = 96
        video.pix_fmt = "bgr0"
        audio = file.add_stream("pcm_s16le", rate=8_000, layout="mono")
        picture = np.zeros((96, 96, 3), np.uint8)
        picture[..., 1] = 255
        for _ in range(10):
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 3_200), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8_000
        file.mux(audio.encode(sound))
        file.mux(audio.encode(None))
    read = read_talking(tmp_path / "a.mkv")
    assert read.frames.shape == (10, 96, 96)
    assert 120 < float(read.frames.mean()) < 190
