"""Stage `prepare`: decode every recording once, cut it to its speech, and let the teacher listen to it.

Output: `audio.i16`, `teacher.f16`, `index.jsonl`, `facts.json`, `pca.safetensors` (docs/stages/pipeline.md).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from app.audio.active import active_range
from app.audio.g711 import float_to_pcm
from training.corpora.manifest import Segment
from training.data.cache import HOP_SAMPLES, CacheWriter, Clip
from training.teachers.whisper import SAMPLE_RATE_HZ as TEACHER_HZ
from training.teachers.whisper import WhisperFrames, load_whisper_base

RATE_HZ = 8_000


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


@dataclass(frozen=True, slots=True)
class Piece:
    """A cut stretch: audio at 8 kHz and, for the teacher, the same stretch at 16 kHz."""

    narrow: npt.NDArray[np.float32]
    wide: npt.NDArray[np.float32]
    lead: int
    active: int


def cut(segment: Segment, config: PrepareConfig) -> list[Piece]:
    """Decode a recording and cut it: noise whole, speech to its active part, both into pieces of bounded length."""
    samples, rate = soundfile.read(segment.path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    wide = np.asarray(soxr.resample(mono, rate, TEACHER_HZ), dtype=np.float32) if rate != TEACHER_HZ else mono
    narrow = np.asarray(soxr.resample(mono, rate, RATE_HZ), dtype=np.float32) if rate != RATE_HZ else mono
    first, last = 0, len(narrow)
    if segment.kind is None:
        first, last = active_range(_levelled(narrow)) or (0, len(narrow))
    start = max(0, first - int(config.lead_s * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES)
    end = min(len(narrow), last + int(config.trail_s * RATE_HZ))
    longest = int(config.max_clip_s * RATE_HZ)
    pieces = []
    for at in range(start, end, longest):
        stop = min(at + longest, end)
        if stop - at < RATE_HZ // 4:
            continue
        begin, finish = max(first, at), min(last, stop)
        pieces.append(Piece(narrow[at:stop], wide[2 * at : 2 * stop], begin - at, max(0, finish - begin)))
    return pieces


def _levelled(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Peak to -6 dBFS: some corpora are so quiet that a voice detector hears nothing."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    return samples * np.float32(0.5 / peak) if peak > 0 else samples


class _Worker:
    """Lives in a child process: cuts a segment and runs the teacher over its pieces."""

    def __init__(self, config: PrepareConfig, pca: dict[str, npt.NDArray[np.float32]] | None) -> None:
        torch.set_num_threads(1)
        self.config, self.pca = config, pca
        self.teacher = load_whisper_base(config.teacher_layers) if config.teacher == "whisper-base" else None

    def __call__(self, segment: Segment) -> list[tuple[Piece, npt.NDArray[np.float32] | None]]:
        keep = segment.kind is None and self.teacher is not None
        return [(p, self._frames(p) if keep else None) for p in cut(segment, self.config)]

    def _frames(self, piece: Piece) -> npt.NDArray[np.float32]:
        assert self.teacher is not None
        frames = listen(self.teacher, piece.wide, len(piece.narrow) // HOP_SAMPLES)
        if self.pca is not None:
            frames = ((frames - self.pca["mean"]) @ self.pca["basis"]) * self.pca["scale"]
        return frames


def listen(teacher: WhisperFrames, wide: npt.NDArray[np.float32], frames: int) -> npt.NDArray[np.float32]:
    """The teacher's features of 16 kHz audio, averaged in pairs to `frames` frames of 40 ms."""
    padded = np.zeros(frames * 2 * HOP_SAMPLES + 640, dtype=np.float32)
    padded[: min(len(wide), len(padded))] = wide[: len(padded)]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
        features = teacher(torch.from_numpy(padded)).float().numpy()
    return np.asarray(features[: 2 * frames].reshape(frames, 2, -1).mean(axis=1), dtype=np.float32)


_worker: _Worker | None = None


def _start(config: PrepareConfig, pca: dict[str, npt.NDArray[np.float32]] | None) -> None:
    global _worker
    _worker = _Worker(config, pca)


def _work(segment: Segment) -> tuple[Segment, list[tuple[Piece, npt.NDArray[np.float32] | None]]]:
    assert _worker is not None
    return segment, _worker(segment)


def _mapped(
    segments: Sequence[Segment],
    config: PrepareConfig,
    pca: dict[str, npt.NDArray[np.float32]] | None,
    label: str,
) -> Iterator[tuple[Segment, list[tuple[Piece, npt.NDArray[np.float32] | None]]]]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(config.workers, initializer=_start, initargs=(config, pca)) as pool:
        yield from tqdm(pool.imap(_work, segments, chunksize=8), total=len(segments), desc=label, unit="clip")


def fit_pca(frames: npt.NDArray[np.float32], dim: int) -> dict[str, npt.NDArray[np.float32]]:
    """Mean [D], basis [D, dim] and one common scale [1] that gives the projected frames unit mean variance."""
    mean = frames.mean(axis=0)
    covariance = np.cov((frames - mean).T.astype(np.float64))
    values, vectors = np.linalg.eigh(covariance)
    basis = vectors[:, ::-1][:, :dim].astype(np.float32)
    scale = np.array([1 / np.sqrt(values[::-1][:dim].mean())], dtype=np.float32)
    return {"mean": mean, "basis": np.ascontiguousarray(basis), "scale": scale}


def prepare(segments: Sequence[Segment], config: PrepareConfig, folder: Path) -> None:
    """Write the cache of all segments into `folder`, unless it is already complete."""
    if (folder / "index.jsonl").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    pca = _teacher_basis(segments, config, folder) if config.teacher != "none" else None
    writer = CacheWriter(folder, config.teacher_dim if pca else 0)
    for segment, pieces in _mapped(segments, config, pca, "prepare"):
        for number, (piece, frames) in enumerate(pieces):
            offset, frame_offset = writer.position
            clip = replace(
                _clip(segment, piece, offset),
                id=segment.id if len(pieces) == 1 else f"{segment.id}#{number}",
                frame_offset=frame_offset if frames is not None else -1,
            )
            kept = None if frames is None else frames.astype(np.float16)
            writer.append(clip, float_to_pcm(piece.narrow), kept)
    writer.close()


def _teacher_basis(
    segments: Sequence[Segment], config: PrepareConfig, folder: Path
) -> dict[str, npt.NDArray[np.float32]]:
    path = folder / "pca.safetensors"
    if not path.exists():
        speech = [s for s in segments if s.kind is None and s.split == "train"]
        order = np.random.default_rng(config.seed).permutation(len(speech))[: config.pca_clips]
        heard = _mapped([speech[i] for i in order], config, None, "teacher basis")
        frames = np.concatenate([f[::4] for _, pieces in heard for _, f in pieces if f is not None])
        save_file(fit_pca(frames, config.teacher_dim), path)
    basis: dict[str, npt.NDArray[np.float32]] = load_file(path)
    return basis


def _clip(segment: Segment, piece: Piece, offset: int) -> Clip:
    return Clip(
        id=segment.id,
        corpus=segment.corpus,
        speaker=segment.speaker,
        split=segment.split,
        emotion=segment.emotion,
        sex=segment.sex,
        language=segment.language,
        kind=segment.kind,
        arousal=segment.arousal,
        votes=segment.votes,
        offset=offset,
        samples=len(piece.narrow),
        lead=piece.lead,
        active=piece.active,
        frame_offset=-1,
    )
