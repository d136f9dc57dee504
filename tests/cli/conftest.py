"""A tiny bundle in service, and recordings to score with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.tiny_bundle import speech_like, write_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny bundle; not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    """Nothing of the developer's own environment; the tiny bundle and two workers."""
    for name in [name for name in os.environ if name.startswith("KOWAIRO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KOWAIRO_BUNDLE__PATH", str(tiny_bundle))
    monkeypatch.setenv("KOWAIRO_INFERENCE__PROVIDER", "cpu")
    monkeypatch.setenv("KOWAIRO_INFERENCE__WORKERS", "2")


def spoken(seed: int, utterances: int = 2) -> np.ndarray:
    """Speech-like stretches with silence between and after them, int16 at 8 kHz."""
    silence = np.zeros(8000, np.int16)
    parts = [part for n in range(utterances) for part in (speech_like(10 * seed + n, 1.5), silence)]
    return np.concatenate([silence, *parts])


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Three recordings: WAV at 8 kHz, FLAC at 16 kHz and a stereo WAV."""
    files = [tmp_path / "one.wav", tmp_path / "two.flac", tmp_path / "both legs.wav"]
    soundfile.write(files[0], spoken(1), 8000, subtype="PCM_16")
    soundfile.write(files[1], np.repeat(spoken(2), 2), 16000, subtype="PCM_16")
    soundfile.write(files[2], np.stack([spoken(3), spoken(4)], axis=1), 8000, subtype="PCM_16")
    return files
