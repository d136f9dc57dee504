"""A folder and a CSV become a corpus, or every bad row is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.corpora.errors import ManifestError
from training.corpora.folder import prepare_folder
from training.corpora.splits import hash_split


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder `calls` with clips a.wav, b.wav and sub/c.wav of half a second at 8 kHz."""
    folder = tmp_path / "calls"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        soundfile.write(folder / name, np.zeros(4000, np.float32), 8000)
    return folder


def _table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def _problems(folder: Path, text: str) -> list[str]:
    path = _table(folder, text)
    with pytest.raises(ManifestError) as caught:
        prepare_folder(folder, path)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_every_column_is_used(clips: Path) -> None:
    """Rows become clips with the file's own length and rate."""
    text = "file,emotion,speaker,split,sex,language,line\na.wav,Angry,ann,test,Female,en,sales\n"
    (clip,) = prepare_folder(clips, _table(clips, text), corpus="site")
    assert (clip.id, clip.corpus, clip.speaker) == ("site/a.wav", "site", "site:ann")
    assert (clip.emotion, clip.split, clip.sex, clip.language) == ("angry", "test", "female", "en")
    assert (clip.duration_s, clip.sample_rate_hz, clip.extra) == (0.5, 8000, {"line": "sales"})
    assert clip.path == clips / "a.wav"


def test_only_file_and_speaker_are_needed(clips: Path) -> None:
    """The corpus takes the folder's name, splits come from the speaker's hash."""
    (clip,) = prepare_folder(clips, _table(clips, "file,speaker\nsub/c.wav,7\n"))
    assert (clip.speaker, clip.emotion, clip.sex) == ("calls:7", None, None)
    assert clip.split == hash_split("calls:7")


def test_a_spreadsheet_export_is_read(clips: Path) -> None:
    """Semicolons, a byte order mark and spaces are common."""
    (clip,) = prepare_folder(clips, _table(clips, "\ufefffile; speaker ;emotion\na.wav; ann ;calm\n"))
    assert (clip.speaker, clip.emotion) == ("calls:ann", "calm")


def test_a_stated_split_holds_for_all_of_a_speaker(clips: Path) -> None:
    """Rows without one follow the speaker, whichever comes first."""
    text = "file,speaker,split\na.wav,ann,\nb.wav,ann,cross\n"
    assert [clip.split for clip in prepare_folder(clips, _table(clips, text))] == ["cross", "cross"]


def test_files_may_be_their_own_speakers_when_told(clips: Path) -> None:
    """A stated speaker still counts."""
    path = _table(clips, "file,speaker\na.wav,\nb.wav,ann\n")
    speakers = [clip.speaker for clip in prepare_folder(clips, path, file_is_speaker=True)]
    assert speakers == ["calls:a.wav", "calls:ann"]


def test_every_bad_row_is_named(clips: Path) -> None:
    """All rows are looked at, and a row may be wrong in several ways."""
    (clips / "text.wav").write_text("not sound")
    soundfile.write(clips / "empty.wav", np.zeros(0, np.float32), 8000)
    text = (
        "file,speaker,emotion,split,sex\n"
        "a.wav,ann,hapy,train,\n"
        "b.wav,,,,\n"
        "gone.wav,ann,,,\n"
        "text.wav,ann,,,\n"
        "empty.wav,ann,,,\n"
        "../x.wav,ann,,,\n"
        ",ann,,,\n"
        "sub/c.wav,ann,sad,valid,robot\n"
        "a.wav,ann,sad,test,\n"
    )
    shown = _problems(clips, text)
    expected = [
        "2: unknown emotion 'hapy'",
        "3: no speaker",
        "4: no such file",
        "5: not a sound file",
        "6: holds no audio",
        "7: path must be relative",
        "8: no file",
        "9: unknown split 'valid'",
        "9: sex must be one of",
        "10: file 'a.wav' is already in line 2",
        "10: speaker 'calls:ann' is in 'test' and (line 2) in 'train'",
    ]
    assert [problem[: len(start)] for problem, start in zip(shown, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file,emtion\n", "1: unknown column 'emtion'"),
        ("speaker\nann\n", "1: no column 'file'"),
        ("file,file\n", "1: a column twice"),
        ("", "1: no column 'file'"),
        ("file,speaker\n", "1: no rows below the header"),
        ("file,speaker\na.wav,ann,extra\n", "2: more cells than columns"),
    ],
)
def test_a_bad_table_is_refused(clips: Path, text: str, problem: str) -> None:
    """A misspelt column would otherwise lose its labels in silence."""
    assert _problems(clips, text)[0].startswith(problem)


def test_a_table_that_is_not_text_is_refused(clips: Path) -> None:
    """A spreadsheet saved under the wrong name gets a sentence rather than a trace."""
    path = clips / "labels.csv"
    path.write_bytes(b"file,speaker\n\xff\xfe,\x80\n")
    with pytest.raises(ManifestError, match="not a UTF-8 CSV"):
        prepare_folder(clips, path)
    with pytest.raises(ManifestError, match=r"gone\.csv: cannot be read"):
        prepare_folder(clips, clips / "gone.csv")
