"""Made talking faces with made emotions: they prove that voice and face are used together, and nothing about people.

The voice tells one of three manners and the face one of three expressions; only both together tell the category:

| | frown | smile | raised |
|---|---|---|---|
| loud | angry | happy | surprise |
| soft | sad | neutral | fear |
| even | disgust | | |

The mouth opens with the voice. Files and manifest are as the shared audiovisual corpora's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from training.corpora.manifest import Segment, write_manifest
from training.corpora.synthetic import RATE_HZ, make_clip
from training.data.talking import FPS, write_talking

CORPUS = "synthetic_av"
SIDE = 96
WIDE_HZ = 16_000
PARTS: Mapping[str, tuple[str, str]] = {
    "angry": ("loud", "frown"),
    "happy": ("loud", "smile"),
    "surprise": ("loud", "raised"),
    "sad": ("soft", "frown"),
    "neutral": ("soft", "smile"),
    "fear": ("soft", "raised"),
    "disgust": ("even", "frown"),
}
"""Category → manner of the voice, expression of the face."""
VOICES: Mapping[str, str] = {"loud": "angry", "soft": "sad", "even": "neutral"}
"""Manner → whose voice of the made corpus of sound it borrows."""
# expression: slant of the brows (inner ends down), their height above the eyes, curve of the mouth (corners up)
EXPRESSIONS: Mapping[str, tuple[float, float, float]] = {
    "frown": (0.5, 7.0, -5.0),
    "smile": (0.0, 10.0, 6.0),
    "raised": (-0.3, 17.0, 0.0),
}


def openness(voice: npt.NDArray[np.float32], rate_hz: int = RATE_HZ) -> npt.NDArray[np.float64]:
    """How far the mouth is open in each 40 ms of a voice, in [0, 1]: its level against its loudest."""
    hop = rate_hz // FPS
    level = np.sqrt(np.square(voice[: len(voice) // hop * hop].reshape(-1, hop)).mean(axis=1))
    return np.asarray(level / max(float(level.max()), 1e-9), dtype=np.float64)


def draw_face(
    expression: str, opened: float, tone: float, size: float, shift: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """One grey picture of 96x96.

    Args:
        expression: of `EXPRESSIONS`.
        opened: mouth, in [0, 1].
        tone: grey level of the skin.
        size: of the head, about 1.
        shift: right and down, in pixels.
    """
    slant, height, curve = EXPRESSIONS[expression]
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    x, y = (columns - 48 - shift[0]) / size, (rows - 48 - shift[1]) / size
    picture = np.full((SIDE, SIDE), 40.0)
    picture[(x / 36) ** 2 + (y / 45) ** 2 < 1] = tone
    dark = np.zeros((SIDE, SIDE), dtype=np.bool_)
    for side in (-1, 1):
        eye_x = x * side - 15
        dark |= (eye_x / 5) ** 2 + ((y + 10) / 3) ** 2 < 1
        dark |= (np.abs(eye_x) < 8) & (np.abs(y + 10 + height + slant * eye_x) < 1.6)
    bent = y - 24 + curve * (x / 16) ** 2 - curve / 2
    dark |= (np.abs(x) < 16) & (np.abs(bent) < 1.5 + 7 * opened * np.sqrt(np.clip(1 - (x / 16) ** 2, 0, 1)))
    picture[dark] = tone / 4
    return np.round(picture).astype(np.uint8)


def make_talking(
    category: str, pitch_hz: float, tone: float, rng: np.random.Generator, duration_s: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """A clip: voice float32 at 8 kHz, and its faces uint8 [F, 96, 96]; head and skin differ a little each time."""
    manner, expression = PARTS[category]
    voice = make_clip(VOICES[manner], pitch_hz, rng, duration_s)
    size, shift = rng.uniform(0.92, 1.08), rng.uniform(-3, 3, size=2)
    shade = tone + rng.uniform(-8, 8)
    faces = [
        draw_face(expression, opened, shade, size, (shift[0], shift[1]))
        for opened in np.round(openness(voice), 2)
    ]
    return voice, np.stack(faces)


def write_synthetic_av(folder: Path, clips_per_category: int = 3, seed: int = 0) -> list[Segment]:
    """Write clips of 7 categories by 6 made speakers (4 train, 1 dev, 1 test), and a manifest of them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 25])
    segments = []
    for speaker in range(6):
        split = ("train", "train", "train", "train", "dev", "test")[speaker]
        for category in PARTS:
            for take in range(clips_per_category):
                name = f"{speaker}_{category}_{take}"
                voice, faces = make_talking(
                    category, 95 + 30 * speaker, 140 + 15 * speaker, rng, rng.uniform(0.9, 1.6)
                )
                path = folder / f"{name}.mp4"
                write_talking(path, soxr.resample(voice, RATE_HZ, WIDE_HZ).astype(np.float32), WIDE_HZ, faces)
                segments.append(
                    Segment(
                        id=f"{CORPUS}/{name}",
                        corpus=CORPUS,
                        path=path,
                        speaker=f"{CORPUS}:s{speaker}",
                        duration_s=len(voice) / RATE_HZ,
                        split=split,
                        emotion=category,
                        sex="female" if speaker % 2 else "male",
                        modality="audiovisual",
                    )
                )
    write_manifest(segments, folder / "manifest_av.jsonl", folder)
    return segments
