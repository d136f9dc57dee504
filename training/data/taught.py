"""What a teacher says of every clip, written once: category logits, one embedding, and frame features.

Logits come in two views: of a line that nobody has heard yet (embeddings standardised over all corpora), and of a
known one (standardised over the clip's own corpus).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.files import write_whole

Floats = npt.NDArray[np.float32]
COLD, LINE = 0, 1


@dataclass(frozen=True, slots=True)
class Basis:
    """A projection of frame features. mean: [D]; basis: [D, dim]; scale: one number that gives unit mean variance."""

    mean: Floats
    basis: Floats
    scale: Floats

    def project(self, frames: Floats) -> Floats:
        """[T, D] → [T, dim]."""
        return np.asarray(((frames - self.mean) @ self.basis) * self.scale, dtype=np.float32)


class TaughtStore:
    """Read access to one teacher's folder.

    embedding: [N, E], standardised over the training clips. Clips that it did not hear have zeros, and `heard` False.
    """

    def __init__(self, folder: Path) -> None:
        self.embedding: Floats = np.load(folder / "embedding.npy")
        self.heard: npt.NDArray[np.bool_] = np.load(folder / "heard.npy")
        self.logits: Floats = np.load(folder / "logits.npy")
        facts = json.loads((folder / "facts.json").read_text())
        self.name: str = facts["name"]
        self.frame_dim: int = facts["frame_dim"]
        self._offsets = np.load(folder / "offsets.npy")
        self._frames = (
            np.memmap(folder / "frames.f16", dtype=np.float16, mode="r").reshape(-1, self.frame_dim)
            if self.frame_dim
            else None
        )

    def frames(self, clip: int) -> Floats | None:
        """Features of a clip's frames [clip.frames, frame_dim]; None where there are none."""
        first, last = int(self._offsets[clip]), int(self._offsets[clip + 1])
        if self._frames is None or first == last:
            return None
        return np.asarray(self._frames[first:last], dtype=np.float32)


def write_taught(
    folder: Path,
    name: str,
    clips: int,
    said: Iterable[tuple[int, Floats, Floats | None]],
    judge: Callable[[Floats, npt.NDArray[np.bool_]], Floats],
    frame_dim: int,
) -> None:
    """Write a teacher's folder.

    Args:
        folder: where to.
        name: of the teacher.
        clips: in the cache.
        said: (clip number, embedding [E], frames [T, frame_dim] or None), in any order.
        judge: embeddings [N, E] and which were heard → logits [2, N, C], cold and of a known line.
        frame_dim: 0 for a teacher without frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vectors: dict[int, Floats] = {}
    kept: dict[int, npt.NDArray[np.float16]] = {}
    for number, embedding, frames in said:
        vectors[number] = embedding
        if frames is not None:
            kept[number] = frames.astype(np.float16)
    width = len(next(iter(vectors.values())))
    table = np.zeros((clips, width), np.float32)
    heard = np.zeros(clips, np.bool_)
    for number, vector in vectors.items():
        table[number], heard[number] = vector, True
    np.save(folder / "logits.npy", judge(table, heard))
    mean, std = table[heard].mean(axis=0), table[heard].std(axis=0) + 1e-4
    np.save(folder / "embedding.npy", np.where(heard[:, None], (table - mean) / std, 0).astype(np.float32))
    np.save(folder / "heard.npy", heard)
    lengths = [len(kept[n]) if n in kept else 0 for n in range(clips)]
    np.save(folder / "offsets.npy", np.cumsum([0, *lengths]))
    with (folder / "frames.f16").open("wb") as file:
        for number in sorted(kept):
            file.write(kept[number].tobytes())
    write_whole(folder / "facts.json", json.dumps({"name": name, "frame_dim": frame_dim}) + "\n")


def line_statistics(
    table: Floats, heard: npt.NDArray[np.bool_], corpora: Sequence[str]
) -> tuple[dict[str, tuple[Floats, Floats]], tuple[Floats, Floats]]:
    """(mean, variance) of every corpus's embeddings, and the average of these over corpora (the population)."""
    names = np.asarray(corpora)
    found = {}
    for name in sorted({str(n) for n in names[heard]}):
        rows = table[heard & (names == name)]
        found[name] = (rows.mean(axis=0), np.maximum(rows.var(axis=0), 1e-6))
    population = tuple(np.mean([pair[i] for pair in found.values()], axis=0) for i in (0, 1))
    return found, (population[0], population[1])
