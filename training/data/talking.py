"""Files with a talking face: sound and grey pictures, read and written with PyAV (the `train` extra)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from training.corpora.errors import CorpusError

FPS = 25
"""Pictures a second: one for each token hop of 40 ms."""


@dataclass(frozen=True, slots=True)
class Talking:
    """Sound float32 [N] at rate_hz, mono, and its grey pictures uint8 [F, H, W] at 25 a second; both as long."""

    sound: npt.NDArray[np.float32]
    rate_hz: int
    frames: npt.NDArray[np.uint8]


def read_talking(path: Path) -> Talking:
    """Decode a file and cut both streams to the shorter one; another frame rate is brought to 25 by repeating.

    The picture is the luminance plane as it is stored. Samples that an edit list drops (AAC's priming) are dropped.

    Raises:
        CorpusError: not a file with a picture and a sound that can be read.
    """
    try:
        with av.open(str(path)) as file:
            if not file.streams.video or not file.streams.audio:
                raise CorpusError(f"{path}: expected a picture and a sound, not one of them alone")
            sound, pictures, times = _streams(file)
    except (av.FFmpegError, OSError) as error:
        raise CorpusError(f"{path}: not a video file that can be read") from error
    if not pictures or not sound:
        raise CorpusError(f"{path}: no picture or no sound in it")
    rate = sound[0][1]
    samples = np.concatenate([part for part, _ in sound])
    frames = at_25_fps(np.stack(pictures), np.array(times))
    count = min(len(frames), len(samples) * FPS // rate)
    return Talking(samples[: count * rate // FPS], rate, frames[:count])


def _streams(
    file: av.container.InputContainer,
) -> tuple[list[tuple[npt.NDArray[np.float32], int]], list[npt.NDArray[np.uint8]], list[float]]:
    to_mono = av.AudioResampler(format="flt", layout="mono")
    sound, pictures, times = [], [], []
    for frame in file.decode(video=0, audio=0):
        if isinstance(frame, av.AudioFrame):
            for mono in to_mono.resample(frame):
                sound.append((mono.to_ndarray()[0].astype(np.float32), mono.sample_rate))
        elif isinstance(frame, av.VideoFrame):
            pictures.append(_luminance(frame))
            times.append(frame.time or 0.0)
    return sound, pictures, times


def _luminance(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    if not frame.format.name.startswith(("yuv420p", "yuvj420p", "gray")) or frame.format.name.endswith("le"):
        frame = frame.reformat(format="yuv420p")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return np.array(rows[:, : plane.width])


def at_25_fps(frames: npt.NDArray[np.uint8], times: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """The picture on show at the middle of each 40 ms since the first; times: when each came, in seconds."""
    since = times - times[0]
    step = float(np.median(np.diff(since))) if len(since) > 1 else 1 / FPS
    wanted = (np.arange(max(1, round((since[-1] + step) * FPS))) + 0.5) / FPS
    slack = 1e-3  # times are fractions, rounded: a picture that comes at that very moment is on show
    return frames[np.searchsorted(since, wanted + slack, side="right") - 1]


def write_talking(
    path: Path, sound: npt.NDArray[np.float32], rate_hz: int, frames: npt.NDArray[np.uint8], crf: int = 28
) -> None:
    """Write an MP4 as the shared corpora are: H.264 grey at 25 a second, AAC mono.

    Args:
        path: of the file.
        sound: float32 [N] in [-1, 1], mono.
        rate_hz: of the sound; one that AAC knows (8000, 16000, …).
        frames: grey uint8 [F, H, W], even sides.
        crf: H.264 quality, lower is better.
    """
    with av.open(str(path), "w", format="mp4") as file:
        video = file.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "veryfast"})
        video.height, video.width = frames.shape[1:]
        video.pix_fmt = "yuv420p"
        audio = file.add_stream("aac", rate=rate_hz, layout="mono")
        for number, picture in enumerate(frames):
            file.mux(video.encode(_grey(picture, number)))
        file.mux(video.encode(None))
        pieces = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
        pieces.sample_rate, pieces.pts = rate_hz, 0
        pieces.time_base = Fraction(1, rate_hz)
        file.mux(audio.encode(pieces))
        file.mux(audio.encode(None))


def _grey(picture: npt.NDArray[np.uint8], number: int) -> av.VideoFrame:
    height, width = picture.shape
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = picture
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, FPS)
    return frame
