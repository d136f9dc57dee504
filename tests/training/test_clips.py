"""A run's clips: shared corpora, folders of one's own and made ones, checked against each other."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.clips import CorporaConfig, FolderConfig, all_clips
from training.corpora.errors import CorpusError, SplitError
from training.corpora.labels import CATEGORIES


def site(folder: Path, rows: list[tuple[str, str, str, str]], table: str = "clips.csv") -> Path:
    """A folder with a CSV and half a second of sound a row."""
    folder.mkdir()
    for name, *_ in rows:
        soundfile.write(folder / name, np.zeros(4_000), 8_000)
    with (folder / table).open("w", newline="") as file:
        csv.writer(file).writerows([("file", "speaker", "emotion", "split"), *rows])
    return folder


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    """Its CSV is clips.csv unless said otherwise, its corpus the folder's name unless said otherwise."""
    one = site(tmp_path / "acme", [("a.wav", "kim", "happy", "train")])
    other = site(tmp_path / "calls", [("b.wav", "", "", "dev")], table="labels.csv")
    config = CorporaConfig(
        folders=(
            FolderConfig(str(one)),
            FolderConfig(str(other), table=str(other / "labels.csv"), corpus="beta", file_is_speaker=True),
        )
    )
    clips = all_clips(config, tmp_path / "made")
    assert [(c.corpus, c.speaker, c.emotion, c.split) for c in clips] == [
        ("acme", "acme:kim", "happy", "train"),
        ("beta", "beta:b.wav", None, "dev"),
    ]
    assert not (tmp_path / "made").exists()


def test_made_clips(tmp_path: Path) -> None:
    """Seven categories by six speakers, in all three splits; the same bytes each time."""
    config = CorporaConfig(synthetic_clips=1)
    clips = all_clips(config, tmp_path / "made")
    assert len(clips) == 7 * 6
    assert {c.split for c in clips} == {"train", "dev", "test"}
    assert {c.emotion for c in clips} == set(CATEGORIES)
    before = clips[0].path.read_bytes()
    assert all_clips(config, tmp_path / "made") == clips
    assert clips[0].path.read_bytes() == before


def test_two_corpora_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their clips could not be told apart."""
    paths = []
    for place in ("x", "y"):
        (tmp_path / place).mkdir()
        paths.append(site(tmp_path / place / "calls", [("a.wav", "kim", "sad", "train")]))
    config = CorporaConfig(folders=tuple(FolderConfig(str(path)) for path in paths))
    with pytest.raises(CorpusError, match="two corpora are called 'calls'"):
        all_clips(config, tmp_path / "made")


def test_a_speaker_in_two_splits_is_refused(tmp_path: Path) -> None:
    """Within a folder the CSV's own line is named."""
    path = site(tmp_path / "calls", [("a.wav", "kim", "sad", "train"), ("b.wav", "kim", "sad", "test")])
    with pytest.raises((CorpusError, SplitError), match=r"clips\.csv:3: speaker 'calls:kim'"):
        all_clips(CorporaConfig(folders=(FolderConfig(str(path)),)), tmp_path / "made")


def test_a_missing_shared_folder_is_named(tmp_path: Path) -> None:
    """The manifest that was looked for, in one line."""
    with pytest.raises(CorpusError, match=r"manifest\.jsonl: cannot be read") as caught:
        all_clips(CorporaConfig(root=str(tmp_path / "nowhere"), names=("ravdess",)), tmp_path / "made")
    assert "\n" not in str(caught.value)
