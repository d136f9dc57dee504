"""Made talking faces: neither voice nor face alone tells the category, the mouth follows the voice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from training.corpora.labels import CATEGORIES
from training.corpora.manifest import read_manifest
from training.corpora.splits import check_speaker_disjoint
from training.corpora.synthetic_av import (
    EXPRESSIONS,
    PARTS,
    VOICES,
    draw_face,
    make_talking,
    openness,
    write_synthetic_av,
)
from training.data.talking import read_talking


def test_both_modalities_are_needed() -> None:
    """Every category is one pair of voice and face, and every expression and two manners stand for several."""
    assert set(PARTS) == set(CATEGORIES)
    assert len(set(PARTS.values())) == len(PARTS)
    voices, faces = (Counter(part[i] for part in PARTS.values()) for i in (0, 1))
    assert set(voices) == set(VOICES)
    assert set(faces) == set(EXPRESSIONS)
    assert min(faces.values()) >= 2
    assert sorted(voices.values()) == [1, 3, 3]


def test_expressions_and_mouths_differ() -> None:
    """Any two drawings of another expression differ, and a mouth that opens darkens the lower third."""
    drawn = [draw_face(name, 0.5, 170.0, 1.0, (0.0, 0.0)) for name in EXPRESSIONS]
    for one in range(3):
        for other in range(one):
            assert float(np.abs(drawn[one].astype(float) - drawn[other]).mean()) > 1
    lower = [float(draw_face("smile", o, 170.0, 1.0, (0.0, 0.0))[60:90].mean()) for o in (0.0, 0.5, 1.0)]
    assert lower[0] > lower[1] > lower[2]


def test_the_mouth_opens_with_the_voice() -> None:
    """One face for each 40 ms, darkest about the mouth where the voice is loudest."""
    rng = np.random.default_rng(0)
    voice, faces = make_talking("sad", 120, 170, rng, 1.2)
    opened = openness(voice)
    assert len(faces) == len(opened) == len(voice) // 320
    dark = -faces[:, 60:90].mean(axis=(1, 2))
    assert float(np.corrcoef(opened, dark)[0, 1]) > 0.95


def test_a_corpus_is_written_as_the_shared_ones_are(tmp_path: Path) -> None:
    """A clip for every category and speaker, with labels and splits, and a manifest that reads back."""
    segments = write_synthetic_av(tmp_path, 1)
    assert len(segments) == 42
    assert Counter(s.split for s in segments) == {"train": 28, "dev": 7, "test": 7}
    check_speaker_disjoint(segments)
    assert read_manifest(tmp_path / "manifest_av.jsonl", tmp_path, check_files=True) == segments
    assert {s.modality for s in segments} == {"audiovisual"}
    read = read_talking(segments[0].path)
    assert read.frames.shape[1:] == (96, 96)
    assert len(read.frames) == int(segments[0].duration_s * 25)
