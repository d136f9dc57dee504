"""Made, speech-like clips with made emotions: they prove that the chain runs, and nothing about people.

A buzz of harmonics through two gliding resonances, in syllables; each category has its own pitch, range, rate and
level. Written as WAV files and a CSV, and read back as any site's folder of clips is.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from training.corpora.folder import prepare_folder
from training.corpora.labels import CATEGORIES
from training.corpora.manifest import Segment

RATE_HZ = 8_000
# category: pitch factor, range in semitones, syllables per second, loudness
MANNERS = {
    "angry": (1.25, 5.0, 5.5, 1.0),
    "disgust": (0.9, 3.0, 3.5, 0.6),
    "fear": (1.4, 2.0, 6.0, 0.5),
    "happy": (1.35, 7.0, 5.0, 0.8),
    "neutral": (1.0, 2.0, 4.2, 0.6),
    "sad": (0.85, 1.0, 3.0, 0.35),
    "surprise": (1.5, 9.0, 4.0, 0.8),
}


def make_clip(
    category: str, pitch_hz: float, rng: np.random.Generator, duration_s: float
) -> npt.NDArray[np.float32]:
    """One clip at 8 kHz, with a quarter of a second of near-silence at both ends."""
    factor, semitones, rate, loudness = MANNERS[category]
    t = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    swing = np.sin(2 * np.pi * rate / 3 * t + rng.uniform(0, 6.28))
    pitch = pitch_hz * factor * 2 ** (semitones / 24 * swing) * rng.uniform(0.95, 1.05)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    first = 550 + 250 * np.sin(2 * np.pi * rate / 2 * t + rng.uniform(0, 6.28))
    second = 1500 + 500 * np.sin(2 * np.pi * rate / 2.7 * t + rng.uniform(0, 6.28))
    voice = np.zeros_like(t)
    for harmonic in range(1, 24):
        frequency = harmonic * pitch
        gain = np.exp(-(((frequency - first) / 220) ** 2)) + 0.5 * np.exp(
            -(((frequency - second) / 300) ** 2)
        )
        voice += np.where(frequency < 3_800, gain, 0) * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(np.pi * rate * t) ** 2 * 1.6 - 0.2, 0, 1)
    voice = 0.25 * loudness * voice * syllables / max(float(np.abs(voice).max()), 1e-6)
    quiet = np.zeros(RATE_HZ // 4)
    hiss = rng.standard_normal(len(voice) + 2 * len(quiet)) * 3e-4
    return (np.concatenate([quiet, voice, quiet]) + hiss).astype(np.float32)


def write_synthetic(folder: Path, clips_per_category: int = 3, seed: int = 0) -> list[Segment]:
    """Write clips of 7 categories by 6 made speakers (4 train, 1 dev, 1 test) and give them as segments."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for speaker in range(6):
        pitch_hz = 95 + 30 * speaker
        split = ("train", "train", "train", "train", "dev", "test")[speaker]
        for category in CATEGORIES:
            for take in range(clips_per_category):
                name = f"{speaker}_{category}_{take}.wav"
                audio = make_clip(category, pitch_hz, rng, rng.uniform(0.9, 1.8))
                soundfile.write(folder / name, audio, RATE_HZ, subtype="PCM_16")
                sex = "female" if speaker % 2 else "male"
                rows.append([name, category, f"s{speaker}", split, sex])
    table = folder / "clips.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "emotion", "speaker", "split", "sex"], *rows])
    return prepare_folder(folder, table, corpus="synthetic")
