"""Preparing: recordings are decoded, cut to speech and heard by a teacher, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.training.corpora.builders import segment
from tests.training.teachers.test_whisper import weights
from training import prepare as stage
from training.corpora.errors import CorpusError
from training.corpora.manifest import Segment
from training.corpora.synthetic import make_clip
from training.corpora.synthetic_av import make_talking
from training.data.cache import AudioCache
from training.data.talking import write_talking
from training.prepare import PrepareConfig, cut, fit_pca, prepare, project
from training.teachers import whisper
from training.teachers.whisper import TeacherMissingError

QUIET = PrepareConfig(teacher="none", workers=0)


def recording(
    folder: Path, name: str, *, seconds: float = 1.5, pad_s: float = 1.0, rate: int = 8_000, **changes: object
) -> Segment:
    """A made voice with silence around it, as a file and a segment."""
    voice = make_clip("happy", 140, np.random.default_rng(0), seconds)
    hush = np.zeros(round(pad_s * 8_000), np.float32)
    samples = np.concatenate([hush, voice, hush])
    if rate != 8_000:
        samples = np.interp(np.arange(0, len(samples), 8_000 / rate), np.arange(len(samples)), samples)
    path = folder / f"{name}.wav"
    soundfile.write(path, samples, rate)
    return segment(id=name, path=path, duration_s=len(samples) / rate, **changes)


def talking(folder: Path, name: str, *, pad_frames: int = 25, side: int = 96, **changes: object) -> Segment:
    """A made talking face, with a closed mouth and silence around what it says."""
    voice, faces = make_talking("happy", 140, 170, np.random.default_rng(0), 1.5)
    hush = np.zeros(pad_frames * 320, np.float32)
    still = np.repeat(faces[:1], pad_frames, axis=0)
    sound = np.concatenate([hush, voice, hush])
    wide = np.interp(np.arange(2 * len(sound)) / 2, np.arange(len(sound)), sound).astype(np.float32)
    pictures = np.concatenate([still, faces, still])[:, :side, :side]
    path = folder / f"{name}.mp4"
    write_talking(path, wide, 16_000, pictures)
    duration_s = len(sound) / 8_000
    return segment(id=name, path=path, duration_s=duration_s, modality="audiovisual", **changes)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_silence_is_cut_to_its_margins(tmp_path: Path, rate: int) -> None:
    """Whatever the rate: at most 0.48 s before speech and 0.40 s behind it, the 16 kHz twin twice as long."""
    (piece,) = cut(recording(tmp_path, "a", rate=rate), QUIET)
    assert piece.lead % 160 == 0
    assert 0 < piece.lead <= 3_840
    assert len(piece.narrow) - piece.lead - piece.active <= 3_200
    assert piece.active == pytest.approx(1.4 * 8_000, rel=0.2)
    assert abs(len(piece.wide) - 2 * len(piece.narrow)) <= 2


def test_long_recordings_are_cut_into_pieces(tmp_path: Path) -> None:
    """None longer than the maximum; together they are the recording."""
    config = PrepareConfig(teacher="none", max_clip_s=1.0)
    pieces = cut(recording(tmp_path, "a", seconds=2.5, pad_s=0.0), config)
    assert len(pieces) == 3
    assert max(len(piece.narrow) for piece in pieces) <= 8_000
    assert pieces[1].lead == 0
    assert pieces[1].active == len(pieces[1].narrow)


def test_noise_is_kept_whole(tmp_path: Path) -> None:
    """Music is not searched for speech."""
    (piece,) = cut(recording(tmp_path, "a", kind="music_jazz"), QUIET)
    assert (piece.lead, piece.active) == (0, len(piece.narrow))
    assert len(piece.narrow) == round(4.0 * 8_000)


def test_level_does_not_decide_what_is_speech(tmp_path: Path) -> None:
    """A recording 50 dB down is cut like the loud one."""
    loud = recording(tmp_path, "a")
    samples, _ = soundfile.read(loud.path, dtype="float32")
    soundfile.write(tmp_path / "b.wav", samples * 0.003, 8_000, subtype="FLOAT")
    (one,), (other,) = cut(loud, QUIET), cut(segment(path=tmp_path / "b.wav"), QUIET)
    assert abs(one.active - other.active) <= 480


def test_a_file_that_is_no_sound_is_named(tmp_path: Path) -> None:
    """The path, in one line."""
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    with pytest.raises(CorpusError, match=r"a\.wav: not a sound file"):
        cut(segment(path=tmp_path / "a.wav"), QUIET)


def test_the_cache_holds_what_was_cut(tmp_path: Path) -> None:
    """Clips in order with their labels; pieces of one recording are numbered; a second call changes nothing."""
    segments = [
        recording(tmp_path, "short", seconds=1.0, pad_s=0.2, emotion="sad"),
        recording(tmp_path, "long", seconds=2.5, pad_s=0.0, split="dev"),
    ]
    config = PrepareConfig(teacher="none", workers=0, max_clip_s=2.0)
    prepare(segments, config, tmp_path / "out")
    cache = AudioCache(tmp_path / "out")
    assert [clip.id for clip in cache.clips] == ["short", "long#0", "long#1"]
    assert [clip.split for clip in cache.clips][-1] == "dev"
    assert cache.clips[0].emotion == "sad"
    assert cache.teacher_dim == 0
    pieces = cut(segments[1], config)
    np.testing.assert_allclose(cache.audio(cache.clips[-1]), pieces[-1].narrow, atol=1 / 32_768)
    before = (tmp_path / "out" / "audio.i16").stat().st_mtime_ns
    prepare([], config, tmp_path / "out")
    assert (tmp_path / "out" / "audio.i16").stat().st_mtime_ns == before


def test_processes_change_nothing(tmp_path: Path) -> None:
    """One worker process writes the very bytes that this process writes."""
    segments = [recording(tmp_path, name) for name in ("a", "b")]
    for workers in (0, 1):
        config = PrepareConfig(teacher="none", workers=workers)
        prepare(segments, config, tmp_path / f"out{workers}")
    for name in ("audio.i16", "index.jsonl", "facts.json"):
        assert (tmp_path / "out0" / name).read_bytes() == (tmp_path / "out1" / name).read_bytes()


def test_the_teacher_hears_speech_and_is_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A basis is fitted on training speech, and every speech clip gets one reduced frame for each 40 ms."""
    monkeypatch.setattr(stage, "weight_files", list)
    monkeypatch.setattr(stage, "load_whisper_base", lambda layers: whisper.WhisperFrames(weights(), 1, 2))
    segments = [
        recording(tmp_path, "a"),
        recording(tmp_path, "b", split="test"),
        recording(tmp_path, "n", kind="music_jazz", split="train"),
    ]
    prepare(segments, PrepareConfig(workers=0, teacher_dim=4), tmp_path / "out")
    cache = AudioCache(tmp_path / "out")
    frames = [cache.frames(clip) for clip in cache.clips]
    assert frames[2] is None
    for clip, heard in zip(cache.clips[:2], frames[:2], strict=True):
        assert heard is not None
        assert heard.shape == (clip.frames, 4)
        assert float(np.var(heard, axis=0).mean()) == pytest.approx(1.0, rel=0.5)


def test_a_missing_teacher_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any clip is decoded or any process started."""
    monkeypatch.setitem(whisper.WHISPERS, "whisper-base", (("no_such_package_at_all", "x"),))
    with pytest.raises(TeacherMissingError, match="no_such_package_at_all"):
        prepare([segment()], PrepareConfig(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_prepare_is_named(tmp_path: Path) -> None:
    """No clips at all, or no training speech for the teacher."""
    with pytest.raises(CorpusError, match="names no clips"):
        prepare([], QUIET, tmp_path / "out")
    with pytest.raises(ValueError, match="teacher must be whisper-base or none, got 'wav2vec'"):
        PrepareConfig(teacher="wav2vec")


def test_the_basis_keeps_what_varies() -> None:
    """Frames on a plane in ten dimensions are two numbers each, of unit variance together, and can be rebuilt."""
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((2, 10)).astype(np.float32)
    frames = (rng.standard_normal((500, 2)) @ plane + 3).astype(np.float32)
    basis = fit_pca(frames, 2)
    reduced = project(frames, basis)
    assert reduced.shape == (500, 2)
    assert float(reduced.var(axis=0).mean()) == pytest.approx(1.0, rel=0.05)
    rebuilt = reduced / basis["scale"] @ basis["basis"].T + basis["mean"]
    np.testing.assert_allclose(rebuilt, frames, atol=1e-3)


def test_a_face_is_cut_with_its_voice(tmp_path: Path) -> None:
    """One picture for each token hop of the cut clip; the mouth is open where the clip is loud."""
    prepare([recording(tmp_path, "a"), talking(tmp_path, "b")], QUIET, tmp_path / "out")
    cache = AudioCache(tmp_path / "out")
    sound, face = cache.clips
    assert cache.faces(sound) is None
    faces = cache.faces(face)
    assert faces is not None
    assert faces.shape == (face.frames, 96, 96)
    assert face.lead <= 3_840 + 320
    assert face.frames < 40 + 25 + 25
    level = np.sqrt(np.square(cache.audio(face)[: face.frames * 320].reshape(-1, 320)).mean(axis=1))
    dark = -faces[:, 60:90].mean(axis=(1, 2))
    lags = [np.corrcoef(level[2:-2], np.roll(dark, lag)[2:-2])[0, 1] for lag in (-1, 0, 1)]
    assert np.argmax(lags) == 1
    assert lags[1] > 0.9


def test_pieces_of_a_face_follow_each_other(tmp_path: Path) -> None:
    """A long recording is cut at whole hops: together the pieces' faces are all of its faces."""
    config = PrepareConfig(teacher="none", workers=0, max_clip_s=0.85)
    whole = cut(talking(tmp_path, "a", pad_frames=0), QUIET)[0].faces
    pieces = cut(talking(tmp_path, "a", pad_frames=0), config)
    assert len(pieces) == 3
    assert whole is not None
    joined = np.concatenate([piece.faces for piece in pieces if piece.faces is not None])
    np.testing.assert_array_equal(joined, whole)
    assert all(len(piece.narrow) == 21 * 320 for piece in pieces[:-1])


def test_faces_of_another_size_are_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(
        CorpusError, match=r"expected face crops of 96x96, got 64x64: .*training\.data\.faces"
    ):
        cut(talking(tmp_path, "a", side=64), QUIET)


def test_faces_leave_the_teachers_basis_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces at the end of the list change neither the basis nor what is before them; they are heard too."""
    monkeypatch.setattr(stage, "weight_files", list)
    monkeypatch.setattr(stage, "load_whisper_base", lambda layers: whisper.WhisperFrames(weights(), 1, 2))
    config = PrepareConfig(workers=0, teacher_dim=4)
    sounds = [recording(tmp_path, "a"), recording(tmp_path, "b", seconds=1.2)]
    prepare(sounds, config, tmp_path / "one")
    prepare([*sounds, talking(tmp_path, "c")], config, tmp_path / "two")
    assert (tmp_path / "one" / "pca.safetensors").read_bytes() == (
        tmp_path / "two" / "pca.safetensors"
    ).read_bytes()
    for name in ("audio.i16", "teacher.f16"):
        before = (tmp_path / "one" / name).read_bytes()
        assert (tmp_path / "two" / name).read_bytes()[: len(before)] == before
    cache = AudioCache(tmp_path / "two")
    heard = cache.frames(cache.clips[-1])
    assert heard is not None
    assert heard.shape == (cache.clips[-1].frames, 4)
    prepare([talking(tmp_path, "c")], config, tmp_path / "alone")
    assert AudioCache(tmp_path / "alone").teacher_dim == 4
