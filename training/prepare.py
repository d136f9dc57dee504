"""Stage `prepare`: decode every recording once, cut it to its speech, and let the teacher listen to it.

Of a talking face the picture is kept too, one crop for each token hop. Output: `audio.i16`, `teacher.f16`, `faces.u8`,
`index.jsonl`, `facts.json`, `pca.safetensors` (docs/stages/pipeline.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch
from safetensors.numpy import load_file, save_file
from torch.utils.data import Dataset

from app.audio.active import active_range
from app.audio.g711 import float_to_pcm
from training.corpora.errors import CorpusError
from training.corpora.manifest import Segment
from training.data.cache import FACE_SIZE, HOP_SAMPLES, CacheWriter, Clip
from training.data.talking import read_talking
from training.data.workers import in_workers
from training.teachers.whisper import SAMPLE_RATE_HZ as TEACHER_HZ
from training.teachers.whisper import WhisperFrames, load_whisper_base, weight_files

RATE_HZ = 8_000
NO_TEACHER, WHISPER_BASE = "none", "whisper-base"
Floats = npt.NDArray[np.float32]
Faces = npt.NDArray[np.uint8]
Basis = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class PrepareConfig:
    """How clips are cut and which teacher hears them.

    teacher: `whisper-base` or `none`. Margins are kept around speech, so that augmentation can vary them.
    """

    teacher: str = "whisper-base"
    teacher_layers: int = 3
    teacher_dim: int = 160
    pca_clips: int = 1500
    lead_s: float = 0.48
    trail_s: float = 0.40
    max_clip_s: float = 6.0
    workers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.teacher not in (NO_TEACHER, WHISPER_BASE):
            raise ValueError(f"teacher must be {WHISPER_BASE} or {NO_TEACHER}, got {self.teacher!r}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A cut stretch: audio at 8 kHz and, for the teacher, the same stretch at 16 kHz.

    lead: samples at 8 kHz before speech starts. active: samples of speech. faces: one for each whole token hop of
    `narrow`, [T, 96, 96], where the recording has any.
    """

    narrow: Floats
    wide: Floats
    lead: int
    active: int
    faces: Faces | None = None


Heard = list[tuple[Piece, Floats | None]]


def cut(segment: Segment, config: PrepareConfig) -> list[Piece]:
    """Decode a recording and cut it: noise whole, speech to its active part, both into pieces of bounded length.

    A talking face is cut at whole token hops, so that its frames stay with its sound.

    Raises:
        CorpusError: a file that can't be decoded, or faces that are not of the size that the tokenizer takes.
    """
    mono, rate, faces = _decoded(segment)
    wide, narrow = _resampled(mono, rate, TEACHER_HZ), _resampled(mono, rate, RATE_HZ)
    first, last = 0, len(narrow)
    if segment.kind is None:
        first, last = active_range(narrow) or (0, len(narrow))
    start = max(0, first - int(config.lead_s * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES)
    end = min(len(narrow), last + int(config.trail_s * RATE_HZ))
    longest = int(config.max_clip_s * RATE_HZ)
    if faces is not None:
        start, longest = (value // HOP_SAMPLES * HOP_SAMPLES for value in (start, longest))
    pieces = []
    for at in range(start, end, longest):
        stop = min(at + longest, end)
        if stop - at < RATE_HZ // 4:
            continue
        begin, finish = max(first, at), min(last, stop)
        seen = (
            None
            if faces is None
            else faces[at // HOP_SAMPLES : at // HOP_SAMPLES + (stop - at) // HOP_SAMPLES]
        )
        pieces.append(
            Piece(narrow[at:stop], wide[2 * at : 2 * stop], begin - at, max(0, finish - begin), seen)
        )
    return pieces


def _decoded(segment: Segment) -> tuple[Floats, int, Faces | None]:
    """Mono sound, its rate, and of a talking face one grey crop for each 40 ms of it."""
    if segment.modality == "audiovisual":
        talking = read_talking(segment.path)
        if talking.frames.shape[1:] != (FACE_SIZE, FACE_SIZE):
            height, width = talking.frames.shape[1:]
            raise CorpusError(
                f"{segment.path}: expected face crops of {FACE_SIZE}x{FACE_SIZE}, got {width}x{height}: "
                "cut the faces out first (python -m training.data.faces IN OUT)"
            )
        return talking.sound, talking.rate_hz, talking.frames
    try:
        samples, rate = soundfile.read(segment.path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise CorpusError(f"{segment.path}: not a sound file that can be read") from error
    return samples.mean(axis=1), int(rate), None


def _resampled(samples: Floats, rate_hz: int, wanted_hz: int) -> Floats:
    if rate_hz == wanted_hz:
        return samples
    return np.asarray(soxr.resample(samples, rate_hz, wanted_hz), dtype=np.float32)


class Listener(Dataset[Heard]):
    """Number of a segment → its pieces, each with what the teacher hears in it (None: noise, or no teacher)."""

    def __init__(self, segments: Sequence[Segment], config: PrepareConfig, basis: Basis | None) -> None:
        self._segments, self._config, self._basis = segments, config, basis
        self._teacher: WhisperFrames | None = None

    def __getitem__(self, number: int) -> Heard:
        segment = self._segments[number]
        heard = segment.kind is None and self._config.teacher != NO_TEACHER
        return [(piece, self._frames(piece) if heard else None) for piece in cut(segment, self._config)]

    def _frames(self, piece: Piece) -> Floats:
        if self._teacher is None:  # loaded by the process that needs it
            self._teacher = load_whisper_base(self._config.teacher_layers)
        frames = listen(self._teacher, piece.wide, len(piece.narrow) // HOP_SAMPLES)
        return frames if self._basis is None else project(frames, self._basis)


def listen(teacher: WhisperFrames, wide: Floats, frames: int) -> Floats:
    """The teacher's features of 16 kHz audio, averaged in pairs to `frames` frames of 40 ms."""
    padded = np.zeros(frames * 2 * HOP_SAMPLES + 640, dtype=np.float32)
    padded[: min(len(wide), len(padded))] = wide[: len(padded)]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
        features = teacher(torch.from_numpy(padded)).float().numpy()
    return np.asarray(features[: 2 * frames].reshape(frames, 2, -1).mean(axis=1), dtype=np.float32)


def project(frames: Floats, basis: Basis) -> Floats:
    """Features [T, D] seen in the basis, [T, dim]."""
    return np.asarray(((frames - basis["mean"]) @ basis["basis"]) * basis["scale"], dtype=np.float32)


def fit_pca(frames: Floats, dim: int) -> Basis:
    """Mean [D], basis [D, dim] and one common scale [1] that gives the projected frames unit mean variance."""
    mean = frames.mean(axis=0)
    covariance = np.cov((frames - mean).T.astype(np.float64))
    values, vectors = np.linalg.eigh(covariance)
    basis = vectors[:, ::-1][:, :dim].astype(np.float32)
    scale = np.array([1 / np.sqrt(values[::-1][:dim].mean())], dtype=np.float32)
    return {"mean": mean, "basis": np.ascontiguousarray(basis), "scale": scale}


def prepare(segments: Sequence[Segment], config: PrepareConfig, folder: Path) -> None:
    """Write the cache of all segments into `folder`, unless it is already complete.

    Raises:
        TeacherMissingError: the teacher's weights are not installed.
        CorpusError: a file that can't be decoded, or no segments at all.
    """
    if (folder / "index.jsonl").exists():
        return
    if not segments:
        raise CorpusError("the configuration names no clips")
    if config.teacher != NO_TEACHER:
        weight_files()  # asked for here, not by every process
    folder.mkdir(parents=True, exist_ok=True)
    basis = _teacher_basis(segments, config, folder) if config.teacher != NO_TEACHER else None
    writer = CacheWriter(folder, config.teacher_dim if basis else 0)
    write_clips(writer, segments, config, basis)
    writer.close()


def write_clips(
    writer: CacheWriter, segments: Sequence[Segment], config: PrepareConfig, basis: Basis | None
) -> None:
    """Cut the segments, let the teacher hear them, and append them to a cache in their order."""
    for segment, heard in _heard(segments, config, basis, "prepare"):
        for number, (piece, frames) in enumerate(heard):
            name = segment.id if len(heard) == 1 else f"{segment.id}#{number}"
            offset, frame_offset = writer.position
            clip = _clip(segment, name, piece, (offset, frame_offset if frames is not None else -1))
            if piece.faces is not None:
                clip = replace(clip, face_offset=writer.face_position)
            kept = None if frames is None else frames.astype(np.float16)
            writer.append(clip, float_to_pcm(piece.narrow), kept, piece.faces)


def _heard(
    segments: Sequence[Segment], config: PrepareConfig, basis: Basis | None, label: str
) -> Iterator[tuple[Segment, Heard]]:
    work = Listener(segments, config, basis)
    return zip(segments, in_workers(work, range(len(segments)), config.workers, label), strict=True)


def _teacher_basis(segments: Sequence[Segment], config: PrepareConfig, folder: Path) -> Basis:
    path = folder / "pca.safetensors"
    if not path.exists():
        speech = [s for s in segments if s.kind is None and s.split == "train"]
        # Corpora with faces leave the basis as it is, so that they can be added to a cache; alone, they make it.
        speech = [s for s in speech if s.modality == "audio"] or speech
        if not speech:
            raise CorpusError("no training clip holds speech: there is nothing for the teacher to hear")
        order = np.random.default_rng(config.seed).permutation(len(speech))[: config.pca_clips]
        heard = _heard([speech[i] for i in order], config, None, "teacher basis")
        frames = np.concatenate([f[::4] for _, pieces in heard for _, f in pieces if f is not None])
        save_file(fit_pca(frames, config.teacher_dim), path)
    basis: Basis = load_file(path)
    return basis


def _clip(segment: Segment, name: str, piece: Piece, offsets: tuple[int, int]) -> Clip:
    return Clip(
        id=name,
        corpus=segment.corpus,
        speaker=segment.speaker,
        split=segment.split,
        emotion=segment.emotion,
        sex=segment.sex,
        language=segment.language,
        kind=segment.kind,
        arousal=segment.arousal,
        votes=segment.votes,
        offset=offsets[0],
        samples=len(piece.narrow),
        lead=piece.lead,
        active=piece.active,
        frame_offset=offsets[1],
    )
