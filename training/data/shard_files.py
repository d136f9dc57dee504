"""Tokens of many clips in tar files of bounded size (the webdataset format), with an index that says where each lies.

A folder holds `shard-000000.tar` …, `clips.npy` (a row per clip: where it lies and how long it is), where there are any
`tokenizer.safetensors` (the weights that made the tokens) and `video_codebook.npy`, and `index.json` (schema, counts,
hashes, totals), which is written last: without it the folder is unfinished. A clip's members share its number as their
name:

- `.json`: id, corpus, speaker, tokens per rendering, whether a teacher heard it;
- `.tokens.npy` [ΣT, K] u8 or u16, all renderings one after the other; `.frames.npy` [ΣT] i16, the teacher's (and the
  video's) frame for each token;
- `.teacher.npy` [F, D] f16 and `.video.npy` [V, F, G] u16, where there are any.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.files import write_whole

FORMAT, VERSION = "kowairo-shards", 1
INDEX, CLIPS = "index.json", "clips.npy"
TOKENIZER, CODEBOOK = "tokenizer.safetensors", "video_codebook.npy"
BLOCK = 512
"""Bytes that everything in a tar is padded to."""
END = bytes(2 * BLOCK)
"""How a tar ends."""
FRAMES_PER_SECOND = 25
PLACE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("bytes", "<u4"), ("frames", "<u4"), ("seen", "?")])
"""A row of `clips.npy`; frames: tokens of the plain rendering; seen: whether the clip has video."""

Array = npt.NDArray[Any]


class ShardError(RuntimeError):
    """A folder of shards that is unfinished, damaged, or not what was asked for."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What the clips of a folder hold. teacher_dim, video_…: 0 without teacher or video; video_variants: renderings."""

    codebooks: int
    variants: int
    largest_token: int
    teacher_dim: int
    video_variants: int = 0
    video_grid: int = 0
    video_codebook_size: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip.

    tokens [T, K] and frames [T], by rendering, empty where it wasn't rendered; teacher [F, D]; video [V, F, G].
    """

    id: str
    corpus: str
    speaker: str
    tokens: Sequence[Array]
    frames: Sequence[Array]
    teacher: Array | None = None
    video: Array | None = None


class ShardWriter:
    """Appends clips; the same clips in the same order give the same bytes."""

    def __init__(self, folder: Path, schema: Schema, shard_bytes: int) -> None:
        if (folder / INDEX).exists():
            raise ShardError(f"{folder} holds finished shards already: take another folder")
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("shard-*"):
            left.unlink()  # of a run that was killed
        self._folder, self._schema, self._limit = folder, schema, shard_bytes
        self._shards: list[dict[str, Any]] = []
        self._places: list[tuple[int, int, int, int, bool]] = []
        self._corpora: dict[str, dict[str, int]] = {}
        self._totals = dict.fromkeys(("clips", "frames", "tokens", "heard", "seen"), 0)
        self._open: _OpenShard | None = None

    def append(self, sample: Sample) -> None:
        """Add one clip; a shard that would grow over its bound is closed first."""
        record = pack(f"{len(self._places):08d}", sample, self._schema)
        if self._open is not None and self._open.bytes + len(record) + len(END) > self._limit:
            self._close_shard()
        if self._open is None:
            self._open = _OpenShard(self._folder / f"shard-{len(self._shards):06d}.tar")
        frames, seen = len(sample.tokens[0]), sample.video is not None
        self._places.append((len(self._shards), self._open.bytes, len(record), frames, seen))
        self._open.append(record, frames)
        counted = self._corpora.setdefault(sample.corpus, {"clips": 0, "frames": 0})
        for totals in (counted, self._totals):
            totals["clips"] += 1
            totals["frames"] += frames
        self._totals["tokens"] += sum(tokens.size for tokens in sample.tokens)
        self._totals["heard"] += sample.teacher is not None
        self._totals["seen"] += seen

    def close(
        self, facts: Mapping[str, Any], tokenizer: Path | None = None, video_codebook: Array | None = None
    ) -> None:
        """Write the last shard, where each clip lies, and the index.

        Args:
            facts: how the shards were made.
            tokenizer: weights to copy beside the tokens that they made.
            video_codebook: every video code as a vector [codes, C].
        """
        if self._open is not None:
            self._close_shard()
        np.save(self._folder / CLIPS, np.array(self._places, dtype=PLACE))
        files = [CLIPS]
        if tokenizer is not None:
            (self._folder / TOKENIZER).write_bytes(tokenizer.read_bytes())
            files.append(TOKENIZER)
        if video_codebook is not None:
            np.save(self._folder / CODEBOOK, video_codebook)
            files.append(CODEBOOK)
        stored = sum(shard["bytes"] for shard in self._shards)
        index = {
            "format": FORMAT,
            "version": VERSION,
            "schema": asdict(self._schema),
            "made": dict(facts),
            "totals": {
                **self._totals,
                "bytes": stored,
                "seconds": self._totals["frames"] / FRAMES_PER_SECOND,
            },
            "corpora": dict(sorted(self._corpora.items())),
            "files": {name: sha256(self._folder / name) for name in files},
            "shards": self._shards,
        }
        write_whole(self._folder / INDEX, json.dumps(index, indent=1) + "\n")

    def _close_shard(self) -> None:
        if self._open is not None:
            self._shards.append(self._open.close())
            self._open = None


class _OpenShard:
    """A tar that is being written."""

    def __init__(self, path: Path) -> None:
        self._path, self._hash = path, hashlib.sha256()
        self.bytes = self._clips = self._frames = 0

    def append(self, record: bytes, frames: int) -> None:
        self._write(record)
        self._clips += 1
        self._frames += frames

    def close(self) -> dict[str, Any]:
        """What the index says of it."""
        self._write(END)
        return {
            "name": self._path.name,
            "sha256": self._hash.hexdigest(),
            "bytes": self.bytes,
            "clips": self._clips,
            "frames": self._frames,
        }

    def _write(self, content: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(content)
        self._hash.update(content)
        self.bytes += len(content)


class Shards:
    """Read access to a finished folder, a clip at a time, in any order.

    Raises:
        ShardError: no index, another format or version, a shard that is missing or of another size.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        except OSError as error:
            raise ShardError(f"{folder} holds no finished shards: it has no {INDEX}") from error
        if (index.get("format"), index.get("version")) != (FORMAT, VERSION):
            raise ShardError(
                f"expected {FORMAT} {VERSION} in {folder}, got {index.get('format')} {index.get('version')}"
            )
        self.folder, self.index = folder, index
        self.schema = Schema(**index["schema"])
        self._names = [shard["name"] for shard in index["shards"]]
        for shard in index["shards"]:
            path = folder / shard["name"]
            if not path.exists() or path.stat().st_size != shard["bytes"]:
                raise ShardError(f"{path} is missing or has not its {shard['bytes']} bytes")
        if sha256(folder / CLIPS) != index["files"][CLIPS]:
            raise ShardError(f"{folder / CLIPS} is not the file that {INDEX} was written for")
        self._places = np.load(folder / CLIPS, allow_pickle=False)
        self._opened: dict[int, npt.NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each clip's plain rendering."""
        return np.asarray(self._places["frames"], dtype=np.int64)

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Which clips have video."""
        return np.asarray(self._places["seen"])

    @property
    def clips_per_shard(self) -> list[int]:
        """Clips lie in the order of their numbers, so these counts say which shard holds which."""
        return [shard["clips"] for shard in self.index["shards"]]

    @property
    def tokenizer(self) -> Path | None:
        """The weights of the tokenizer that made the tokens, where they were stored."""
        return self.folder / TOKENIZER if TOKENIZER in self.index["files"] else None

    @property
    def video_codebook(self) -> Array | None:
        """Every video code as a vector [codes, C], where there is video."""
        if CODEBOOK not in self.index["files"]:
            return None
        return np.asarray(np.load(self.folder / CODEBOOK, allow_pickle=False))

    def sample(self, number: int) -> Sample:
        """One clip.

        Raises:
            ShardError: what lies at its place is damaged.
        """
        shard, offset, size, _, _ = self._places[number].item()
        if shard not in self._opened:
            self._opened[shard] = np.memmap(self.folder / self._names[shard], dtype=np.uint8, mode="r")
        try:
            return unpack(self._opened[shard][offset : offset + size].tobytes())
        except (KeyError, ValueError, tarfile.TarError) as error:
            raise ShardError(f"{self._names[shard]} is damaged at byte {offset}: {error}") from error

    def verify(self) -> None:
        """Read everything and compare the hashes.

        Raises:
            ShardError: the first file that differs.
        """
        wanted = {shard["name"]: shard["sha256"] for shard in self.index["shards"]} | self.index["files"]
        for name, digest in wanted.items():
            if sha256(self.folder / name) != digest:
                raise ShardError(f"{self.folder / name} is damaged: its hash is not the index's")


def pack(key: str, sample: Sample, schema: Schema) -> bytes:
    """A clip as members of a tar, each a header and its content."""
    kind = np.uint8 if schema.largest_token < 256 else np.uint16
    about = {
        "id": sample.id,
        "corpus": sample.corpus,
        "speaker": sample.speaker,
        "lengths": [len(tokens) for tokens in sample.tokens],
        "heard": sample.teacher is not None,
    }
    members = {
        "json": json.dumps(about, ensure_ascii=False).encode(),
        "tokens.npy": _npy(np.concatenate(sample.tokens).astype(kind)),
        "frames.npy": _npy(np.concatenate(sample.frames).astype(np.int16)),
    }
    if sample.teacher is not None:
        members["teacher.npy"] = _npy(sample.teacher.astype(np.float16))
    if sample.video is not None:
        members["video.npy"] = _npy(sample.video.astype(np.uint16))
    return b"".join(_member(f"{key}.{name}", content) for name, content in members.items())


def unpack(record: bytes) -> Sample:
    """What `pack` made."""
    members = dict(_members(record))
    about = json.loads(members["json"])
    ends = np.cumsum(about["lengths"])[:-1]
    arrays = {
        name.removesuffix(".npy"): np.load(io.BytesIO(content), allow_pickle=False)
        for name, content in members.items()
        if name.endswith(".npy")
    }
    return Sample(
        about["id"], about["corpus"], about["speaker"],
        np.split(arrays["tokens"], ends), np.split(arrays["frames"], ends),
        arrays.get("teacher"), arrays.get("video"),
    )  # fmt: skip


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)  # no owner and no time: the same clips make the same bytes
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)


def _members(record: bytes) -> Iterator[tuple[str, bytes]]:
    """Name after the key's dot, and content."""
    at = 0
    while at < len(record):
        header = tarfile.TarInfo.frombuf(record[at : at + BLOCK], "utf-8", "strict")
        at += BLOCK
        yield header.name.split(".", 1)[1], record[at : at + header.size]
        at += header.size + -header.size % BLOCK
