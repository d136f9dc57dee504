"""Recordings, decoded and cut once: 8 kHz int16 audio, the teacher's frames and faces in flat files, with an index.

Written by the `prepare` stage; every later stage reads it through `AudioCache`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.corpora.noise import Role

HOP_SAMPLES = 320
"""Samples per token, per teacher frame and per face at 8 kHz (25 a second)."""

FACE_SIZE = 96
"""Height and width of a face crop in pixels."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One cached piece of a recording.

    lead: samples before speech starts; active: samples of speech; the rest is trail. Offsets are into the flat files:
    `offset` in samples, `frame_offset` in teacher frames (-1 without a teacher), `face_offset` in faces (-1 without).
    """

    id: str
    corpus: str
    speaker: str
    split: str
    emotion: str | None
    sex: str | None
    language: str | None
    kind: str | None
    arousal: float | None
    votes: Mapping[str, float] | None
    offset: int
    samples: int
    lead: int
    active: int
    frame_offset: int
    face_offset: int = -1

    @property
    def frames(self) -> int:
        """Whole token hops in the clip."""
        return self.samples // HOP_SAMPLES


MIXABLE = tuple(role.value for role in Role if role.mixable)
"""Kinds of noise that may lie under speech."""


def is_kind(clip: Clip, kinds: Sequence[str]) -> bool:
    """Whether a noise clip's kind begins with one of these."""
    return clip.kind is not None and clip.kind.startswith(tuple(kinds))


class AudioCache:
    """Read access to a prepared folder."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "index.jsonl").read_text().splitlines()
        self.clips = [Clip(**json.loads(line)) for line in lines]
        self._audio = np.memmap(folder / "audio.i16", dtype=np.int16, mode="r")
        self.facts: dict[str, int] = json.loads((folder / "facts.json").read_text())
        dim = self.teacher_dim
        self._frames = (
            np.memmap(folder / "teacher.f16", dtype=np.float16, mode="r").reshape(-1, dim) if dim else None
        )
        shape = (-1, FACE_SIZE, FACE_SIZE)
        self._faces = (
            np.memmap(folder / "faces.u8", dtype=np.uint8, mode="r").reshape(shape)
            if self.face_count
            else None
        )

    @property
    def teacher_dim(self) -> int:
        """Dimensions of the teacher's frames, 0 without a teacher."""
        return self.facts["teacher_dim"]

    @property
    def face_count(self) -> int:
        """Face frames of all clips; 0 in a cache of sound alone."""
        return self.facts.get("faces", 0)

    def audio(self, clip: Clip) -> npt.NDArray[np.float32]:
        """The clip's samples, float32 in [-1, 1]."""
        return self._audio[clip.offset : clip.offset + clip.samples].astype(np.float32) / np.float32(32768)

    def frames(self, clip: Clip) -> npt.NDArray[np.float32] | None:
        """The teacher's frames [clip.frames, teacher_dim], None where there are none."""
        if self._frames is None or clip.frame_offset < 0:
            return None
        return self._frames[clip.frame_offset : clip.frame_offset + clip.frames].astype(np.float32)

    def faces(self, clip: Clip) -> npt.NDArray[np.uint8] | None:
        """The clip's grey face crops [clip.frames, 96, 96], one for each token hop; None where there are none."""
        if self._faces is None or clip.face_offset < 0:
            return None
        return np.asarray(self._faces[clip.face_offset : clip.face_offset + clip.frames])


class CacheWriter:
    """Appends clips; `close` writes the index, so an unfinished folder is never mistaken for a finished one."""

    def __init__(self, folder: Path, teacher_dim: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._teacher_dim = folder, teacher_dim
        self._audio = (folder / "audio.i16").open("wb")
        self._frames = (folder / "teacher.f16").open("wb")
        self._faces = (folder / "faces.u8").open("wb")
        self._index: list[Clip] = []
        self._samples = self._frame_count = 0
        self.face_position = 0
        """Face frames written so far."""

    @property
    def position(self) -> tuple[int, int]:
        """Samples and teacher frames written so far."""
        return self._samples, self._frame_count

    def append(
        self,
        clip: Clip,
        audio: npt.NDArray[np.int16],
        frames: npt.NDArray[np.float16] | None,
        faces: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Add one clip whose offsets are `position` and, where it has faces, `face_position`.

        Raises:
            ValueError: not one face for each whole token hop of the clip.
        """
        if faces is not None:
            if faces.shape != (clip.frames, FACE_SIZE, FACE_SIZE):
                raise ValueError(f"clip {clip.id!r} needs {clip.frames} faces, got an array of {faces.shape}")
            self._faces.write(faces.tobytes())
            self.face_position += len(faces)
        self._audio.write(audio.tobytes())
        self._samples += len(audio)
        if frames is not None:
            self._frames.write(frames.tobytes())
            self._frame_count += len(frames)
        self._index.append(clip)

    def close(self) -> None:
        """Write the index and facts."""
        self._audio.close()
        self._frames.close()
        self._faces.close()
        facts = {
            "teacher_dim": self._teacher_dim,
            "clips": len(self._index),
            "samples": self._samples,
            "faces": self.face_position,
        }
        (self._folder / "facts.json").write_text(json.dumps(facts))
        lines = "".join(json.dumps(asdict(clip)) + "\n" for clip in self._index)
        temporary = self._folder / "index.jsonl.tmp"
        temporary.write_text(lines)
        temporary.rename(self._folder / "index.jsonl")
