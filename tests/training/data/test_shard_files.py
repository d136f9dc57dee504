"""Shards give back what was written, are what webdataset reads, and say what is wrong with them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.shard_files import (
    INDEX,
    Sample,
    Schema,
    ShardError,
    Shards,
    ShardWriter,
    pack,
    sha256,
    unpack,
)

SCHEMA = Schema(codebooks=2, variants=2, largest_token=15, teacher_dim=3, video_variants=1, video_grid=4)


def sample(number: int, *, heard: bool = True, seen: bool = False, schema: Schema = SCHEMA) -> Sample:
    """A clip whose content follows from its number; every third has no second rendering."""
    rng = np.random.default_rng(number)
    lengths = [5 + number % 7, 0 if number % 3 == 2 else 4 + number % 5]
    tokens = [rng.integers(0, schema.largest_token + 1, (n, schema.codebooks)) for n in lengths]
    return Sample(
        f"made/{number}",
        "made" if number % 2 else "ありがとう",
        "made:a",
        tokens,
        [np.arange(n) for n in lengths],
        rng.standard_normal((6, schema.teacher_dim)).astype(np.float16) if heard else None,
        rng.integers(0, 500, (schema.video_variants, 6, schema.video_grid)) if seen else None,
    )


def write(folder: Path, count: int = 20, shard_bytes: int = 20_000, schema: Schema = SCHEMA) -> Shards:
    """Shards of some clips, several to a shard; every fourth has video, every fifth no teacher."""
    writer = ShardWriter(folder, schema, shard_bytes)
    for number in range(count):
        writer.append(sample(number, heard=number % 5 != 0, seen=number % 4 == 0, schema=schema))
    writer.close({"seed": 0})
    return Shards(folder)


def assert_same(one: Sample, other: Sample) -> None:
    """Two clips say the same."""
    assert (one.id, one.corpus, one.speaker) == (other.id, other.corpus, other.speaker)
    for left, right in ((one.tokens, other.tokens), (one.frames, other.frames)):
        assert len(left) == len(right)
        assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))
    for a, b in ((one.teacher, other.teacher), (one.video, other.video)):
        assert (a is None) == (b is None)
        assert a is None or b is None or np.array_equal(a, b)


def test_clips_come_back_in_any_order(tmp_path: Path) -> None:
    """Tokens, frames, teacher and video of every clip, from the last to the first."""
    shards = write(tmp_path)
    assert len(shards) == 20
    assert sum(shards.clips_per_shard) == 20
    for number in reversed(range(20)):
        assert_same(shards.sample(number), sample(number, heard=number % 5 != 0, seen=number % 4 == 0))
        assert shards.lengths[number] == 5 + number % 7
        assert shards.seen[number] == (number % 4 == 0)


@settings(deadline=None)
@given(
    largest=st.sampled_from([7, 255, 256, 60_000]),
    number=st.integers(0, 10**6),
    heard=st.booleans(),
    seen=st.booleans(),
)
def test_packing_loses_nothing(largest: int, number: int, heard: bool, seen: bool) -> None:
    """Whatever the size of the codebooks: a byte a token where that is enough, two where it isn't."""
    schema = Schema(3, 2, largest, 5, 2, 3)
    wanted = sample(number, heard=heard, seen=seen, schema=schema)
    found = unpack(pack("00000000", wanted, schema))
    assert_same(found, wanted)
    assert found.tokens[0].dtype == (np.uint8 if largest < 256 else np.uint16)


def test_shards_stay_below_their_bound_and_repeat(tmp_path: Path) -> None:
    """Several shards, none over the bound; written again they are the same bytes, and so is the index."""
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    sizes = [shard["bytes"] for shard in one.index["shards"]]
    assert len(sizes) > 2
    assert all(
        size == (tmp_path / "one" / s["name"]).stat().st_size <= 20_000
        for size, s in zip(sizes, one.index["shards"], strict=True)
    )
    assert one.index == other.index
    for shard in one.index["shards"]:
        assert shard["sha256"] == sha256(tmp_path / "other" / shard["name"])


def test_the_index_counts(tmp_path: Path) -> None:
    """Clips and frames by shard, by corpus and in all; hashes that hold."""
    shards = write(tmp_path)
    index = shards.index
    frames = int(shards.lengths.sum())
    assert index["totals"]["clips"] == sum(s["clips"] for s in index["shards"]) == 20
    assert index["totals"]["frames"] == sum(s["frames"] for s in index["shards"]) == frames
    assert index["totals"]["seconds"] == frames / 25
    assert index["totals"]["heard"] == 16
    assert index["totals"]["seen"] == 5
    assert index["totals"]["bytes"] == sum(s["bytes"] for s in index["shards"])
    assert index["corpora"]["made"]["clips"] == 10
    shards.verify()


@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO")  # files that webdataset leaves open
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_webdataset_reads_them(tmp_path: Path) -> None:
    """Their own reader, webdataset's, finds the same clips, decoded by their extensions."""
    wds = pytest.importorskip("webdataset")
    shards = write(tmp_path)
    paths = [str(tmp_path / shard["name"]) for shard in shards.index["shards"]]
    found = list(wds.WebDataset(paths, shardshuffle=False, empty_check=False).decode())
    assert [row["__key__"] for row in found] == [f"{number:08d}" for number in range(20)]
    for number, row in enumerate(found):
        wanted = shards.sample(number)
        assert row["json"]["id"] == wanted.id
        assert row["json"]["lengths"] == [len(tokens) for tokens in wanted.tokens]
        assert np.array_equal(row["tokens.npy"], np.concatenate(wanted.tokens))
        assert np.array_equal(row["frames.npy"], np.concatenate(wanted.frames))
        assert ("teacher.npy" in row) == (wanted.teacher is not None)
        assert ("video.npy" in row) == (wanted.video is not None)


def test_any_tar_reads_them(tmp_path: Path) -> None:
    """They are plain archives, with an end."""
    write(tmp_path)
    with tarfile.open(tmp_path / "shard-000000.tar") as archive:
        names = archive.getnames()
    assert names[:2] == ["00000000.json", "00000000.tokens.npy"]


def test_an_unfinished_folder_is_refused_and_begun_again(tmp_path: Path) -> None:
    """Killed before the index: nothing can be read; writing starts over. A finished folder is not written to."""
    writer = ShardWriter(tmp_path, SCHEMA, 4_000)
    for number in range(6):
        writer.append(sample(number))
    with pytest.raises(ShardError, match="no finished shards"):
        Shards(tmp_path)
    shards = write(tmp_path)
    assert len(list(tmp_path.glob("shard-*"))) == len(shards.index["shards"])
    with pytest.raises(ShardError, match="holds finished shards already"):
        ShardWriter(tmp_path, SCHEMA, 4_000)


def test_damage_is_named(tmp_path: Path) -> None:
    """A missing shard, a torn one, a flipped byte, another format: each with its file."""
    shards = write(tmp_path)
    path = tmp_path / "shard-000001.tar"
    content = bytearray(path.read_bytes())
    content[2] ^= 1
    path.write_bytes(content)
    first = shards.clips_per_shard[0]
    with pytest.raises(ShardError, match=r"shard-000001\.tar is damaged at byte 0"):
        Shards(tmp_path).sample(first)
    with pytest.raises(ShardError, match=r"shard-000001\.tar is damaged: its hash"):
        Shards(tmp_path).verify()
    path.write_bytes(content[:-512])
    with pytest.raises(ShardError, match=r"shard-000001\.tar is missing or has not its"):
        Shards(tmp_path)
    path.unlink()
    with pytest.raises(ShardError, match=r"shard-000001\.tar is missing"):
        Shards(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps(index | {"version": 99}))
    with pytest.raises(ShardError, match=r"expected kowairo-shards 1 in .* got kowairo-shards 99"):
        Shards(tmp_path)


def test_places_of_another_folder_are_refused(tmp_path: Path) -> None:
    """`clips.npy` belongs to its index."""
    write(tmp_path / "one")
    write(tmp_path / "other", 19)
    (tmp_path / "one" / "clips.npy").write_bytes((tmp_path / "other" / "clips.npy").read_bytes())
    with pytest.raises(ShardError, match=r"clips\.npy is not the file"):
        Shards(tmp_path / "one")
