"""Manifests are read whole or refused with every bad line named."""

from __future__ import annotations

import contextlib
import pickle
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.corpora.builders import line, segment, write_lines
from training.corpora.errors import SHOWN_PROBLEMS, ManifestError
from training.corpora.manifest import Segment, read_manifest, write_manifest


def test_a_good_line_becomes_a_clip(tmp_path: Path) -> None:
    """Every field lands where it belongs, the path under the root and unknown keys in `extra`."""
    fields = line(
        sex="female",
        language="pl",
        text_id="7",
        sample_rate=8000,
        votes={"happy": 3, "sad": 1},
        arousal="low",
        intensity="strong",
    )
    (clip,) = read_manifest(write_lines(tmp_path / "m.jsonl", [fields]), tmp_path)
    assert clip == Segment(
        id="x/1",
        corpus="x",
        path=tmp_path / "x/1.wav",
        speaker="x:a",
        duration_s=1.5,
        split="train",
        emotion="happy",
        sex="female",
        language="pl",
        text_id="7",
        sample_rate_hz=8000,
        votes={"happy": 3.0, "sad": 1.0},
        arousal=-0.7,
        extra={"intensity": "strong"},
    )


def test_a_relative_root_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip can be opened wherever the process goes afterwards."""
    monkeypatch.chdir(tmp_path)
    (clip,) = read_manifest(write_lines(tmp_path / "m.jsonl", [line()]), Path("sub/.."))
    assert clip.path == tmp_path / "x/1.wav"


def test_noise_needs_neither_corpus_nor_speaker(tmp_path: Path) -> None:
    """A line with a kind is its own source of the corpus `noise`."""
    fields = line(corpus=..., speaker=..., emotion=..., kind="music")
    (clip,) = read_manifest(write_lines(tmp_path / "m.jsonl", [fields]), tmp_path)
    assert (clip.corpus, clip.speaker, clip.kind, clip.emotion) == ("noise", "noise:x/1", "music", None)


@pytest.mark.parametrize(("arousal", "value"), [("low", -0.7), ("neutral", 0.0), ("high", 0.7), (0.25, 0.25)])
def test_arousal_is_a_level_or_a_number(tmp_path: Path, arousal: Any, value: float) -> None:
    """The three words are mapped, numbers are taken as they are."""
    (clip,) = read_manifest(write_lines(tmp_path / "m.jsonl", [line(arousal=arousal)]), tmp_path)
    assert clip.arousal == value


def test_a_line_with_a_frame_rate_is_audiovisual(tmp_path: Path) -> None:
    """Video is known by its `fps` unless the line states a modality."""
    lines = [line(fps=25), line(id="x/2", fps=25, modality="audio"), line(id="x/3", modality="audiovisual")]
    clips = read_manifest(write_lines(tmp_path / "m.jsonl", lines), tmp_path)
    assert [clip.modality for clip in clips] == ["audiovisual", "audio", "audiovisual"]


def test_blank_lines_and_a_byte_order_mark_are_harmless(tmp_path: Path) -> None:
    """Editors leave both behind."""
    path = write_lines(tmp_path / "m.jsonl", [line(), "", "  "])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_manifest(path, tmp_path)) == 1


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("{nonsense", "not JSON"),
        ('{"id": NaN}', "NaN is not a number"),
        ("[1]", "expected a JSON object, got list"),
        ("[" * 100_000, "nested too deeply"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (line(id=...), "missing field 'id'"),
        (line(speaker=...), "missing field 'speaker'"),
        (line(corpus=None), "missing field 'corpus'"),
        (line(path=...), "missing field 'path'"),
        (line(duration_s=...), "missing field 'duration_s'"),
        (line(id=7), "id must be a non-empty string, got 7"),
        (line(emotion=" "), "emotion must be a non-empty string"),
        (line(duration_s="1"), "duration_s must be a finite number"),
        (line(duration_s=True), "duration_s must be a finite number"),
        (line(duration_s=10**400), "duration_s must be a finite number"),
        (line(duration_s=0), "duration_s must be above 0"),
        (line(duration_s=-1.0), "duration_s must be above 0"),
        (line(split="validation"), "unknown split 'validation'"),
        (line(path="../secret.wav"), "must be relative and stay under"),
        (line(path="x/../../secret.wav"), "must be relative and stay under"),
        (line(path="/etc/passwd"), "must be relative and stay under"),
        (line(path="."), "must be relative and stay under"),
        (line(path="a\x00b"), "must be printable"),
        (line(sample_rate=0), "sample_rate must be a whole number above 0"),
        (line(sample_rate_hz=8000.5), "sample_rate_hz must be a whole number above 0"),
        (line(votes={}), "votes must be counts"),
        (line(votes={"happy": -1}), "votes must be counts"),
        (line(votes=["happy"]), "votes must be counts"),
        (line(arousal="huge"), "arousal must be one of low, neutral, high"),
        (line(arousal=1.5), "arousal must be one of"),
        (line(modality="smell"), "modality must be"),
        (line(id=["x" * 200]), "..."),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: Any, problem: str) -> None:
    """The message gives file, line number and what is wrong."""
    path = write_lines(tmp_path / "m.jsonl", [line(id="x/0"), bad])
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, tmp_path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert problem in str(caught.value)


def test_duplicate_ids_and_torn_speakers_name_both_lines(tmp_path: Path) -> None:
    """What only shows over the whole file points back to where it began."""
    path = write_lines(tmp_path / "m.jsonl", [line(), line(split="test")])
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, tmp_path)
    assert caught.value.problems == (
        f"{path}:2: duplicate id 'x/1', first in line 1",
        f"{path}:2: speaker 'x:a' is in 'test' and (line 1) in 'train'",
    )


def test_missing_clips_are_named_only_when_asked(tmp_path: Path) -> None:
    """Manifests can be read where the audio is not."""
    path = write_lines(tmp_path / "m.jsonl", [line()])
    assert read_manifest(path, tmp_path)
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: no such file"):
        read_manifest(path, tmp_path, check_files=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/1.wav").touch()
    assert read_manifest(path, tmp_path, check_files=True)


def test_all_problems_are_kept_and_twenty_shown(tmp_path: Path) -> None:
    """A broken manifest is mended in one go, and does not flood the terminal."""
    path = write_lines(tmp_path / "m.jsonl", [line(id=f"x/{n}", split="nope") for n in range(25)])
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, tmp_path)
    assert len(caught.value.problems) == 25
    assert len(str(caught.value).splitlines()) == SHOWN_PROBLEMS + 1
    assert str(caught.value).endswith("… and 5 more")


def test_only_one_corpus_can_be_read(tmp_path: Path) -> None:
    """Lines of other corpora are passed over, even bad ones."""
    lines = [line(), line(corpus="y", id=3), line(corpus=..., speaker=..., id="n", kind="music")]
    path = write_lines(tmp_path / "m.jsonl", lines)
    assert [clip.id for clip in read_manifest(path, tmp_path, only="x")] == ["x/1"]
    assert [clip.id for clip in read_manifest(path, tmp_path, only="noise")] == ["n"]


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    """The message says which file could not be read."""
    with pytest.raises(ManifestError, match=r"gone\.jsonl: cannot be read: No such file"):
        read_manifest(tmp_path / "gone.jsonl", tmp_path)


def test_a_clip_outside_the_root_is_not_written(tmp_path: Path) -> None:
    """A manifest that could not be read back is not made."""
    with pytest.raises(ManifestError, match="is not under"):
        write_manifest([segment()], tmp_path / "m.jsonl", tmp_path)
    assert not (tmp_path / "m.jsonl").exists()


def test_clips_can_be_hashed_and_pickled() -> None:
    """They cross process boundaries and serve as keys."""
    clip = segment(votes={"happy": 1.0}, extra={"line": "a"})
    assert pickle.loads(pickle.dumps(clip)) == clip
    assert {clip: 1}[clip] == 1


_word = st.text(string.ascii_letters + "éß漢 _-", min_size=1).filter(lambda text: bool(text.strip()))
_name = st.text(string.ascii_letters + string.digits + "é漢_-", min_size=1)
_optional = st.none() | _word
_root = Path("/data/root")
_clips = st.builds(
    Segment,
    id=_word,
    corpus=_word,
    path=st.lists(_name, min_size=1, max_size=3).map(lambda parts: _root.joinpath(*parts)),
    speaker=_word,
    duration_s=st.floats(0.001, 1e6),
    split=st.just("train"),
    emotion=_optional,
    sex=_optional,
    language=_optional,
    text_id=_optional,
    sample_rate_hz=st.none() | st.integers(1, 10**6),
    votes=st.none() | st.dictionaries(_word, st.floats(0.5, 100), min_size=1),
    arousal=st.none() | st.floats(-1, 1),
    kind=_optional,
    modality=st.sampled_from(["audio", "audiovisual"]),
    extra=st.dictionaries(
        _word.map(lambda key: "extra_" + key), st.none() | st.booleans() | st.integers() | st.text()
    ),
)


@given(st.lists(_clips, unique_by=lambda clip: clip.id, max_size=4))
def test_what_is_written_is_read_back(clips: list[Segment]) -> None:
    """Reading a written manifest gives equal clips in the same order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.jsonl"
        write_manifest(clips, path, _root)
        assert read_manifest(path, _root) == clips


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_are_read_or_refused(lines: list[bytes]) -> None:
    """Whatever a file holds, the answer is clips or a ManifestError."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_lines(Path(folder) / "m.jsonl", lines)
        with contextlib.suppress(ManifestError):
            read_manifest(path, Path(folder))
