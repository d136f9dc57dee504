"""Command line for sharded tokens: `python -m training.shards {write,verify,show} …` (docs/stages/scale.md).

`write` turns what the stages `prepare` and `tokenise` wrote into tar files that `training.pretrain_shards` streams.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.data.cache import AudioCache
from training.data.shard_files import Sample, Schema, ShardError, Shards, ShardWriter
from training.data.tokens import TokenStore
from training.data.video_tokens import VideoTokens, has_video

DEFAULT_BYTES = 256 * 2**20
SHORTEST = 4
"""Tokens that a clip must have, as in the stage `pretrain`."""


def write_shards(
    prepared: Path,
    tokens: Path,
    folder: Path,
    *,
    splits: Sequence[str] = ("train",),
    shard_bytes: int = DEFAULT_BYTES,
    seed: int = 0,
    tokenizer: Path | None = None,
) -> Shards:
    """Write the clips of these splits into `folder`, in a drawn order, so that every shard is a mixture.

    Args:
        prepared: folder of the stage `prepare`.
        tokens: folder of the stage `tokenise`, with video tokens or without.
        folder: to write into.
        splits: which clips; the pretraining stage may see `train` alone.
        shard_bytes: a shard's size at most (but for a clip that is larger by itself).
        seed: of the order.
        tokenizer: `model.safetensors` of the stage `tokenizer`, to go along.

    Raises:
        ShardError: `folder` holds finished shards, or there is no clip to write.
    """
    cache, store = AudioCache(prepared), TokenStore(tokens)
    video = VideoTokens(tokens) if has_video(tokens) else None
    numbers = [n for n, c in enumerate(cache.clips) if c.split in splits and store.length(0, n) >= SHORTEST]
    if not numbers:
        raise ShardError(f"{prepared} has no clip of {', '.join(splits)} with {SHORTEST} tokens or more")
    order = [numbers[i] for i in np.random.default_rng(seed).permutation(len(numbers))]
    faces = 0 if video is None else video.grid
    schema = Schema(
        store.codebooks, store.variants, _largest(store, numbers), cache.teacher_dim,
        0 if video is None else video.variants, faces, 0 if video is None else video.codebook_size,
    )  # fmt: skip
    writer = ShardWriter(folder, schema, shard_bytes)
    for sample in tqdm(_samples(cache, store, video, order), total=len(order), desc="shards", mininterval=2):
        writer.append(sample)
    codebook = None if video is None else video.codebook
    writer.close({"splits": list(splits), "seed": seed}, tokenizer, codebook)
    return Shards(folder)


def _samples(
    cache: AudioCache, store: TokenStore, video: VideoTokens | None, order: Sequence[int]
) -> Iterator[Sample]:
    for number in order:
        clip = cache.clips[number]
        teacher, seen = cache.frames(clip), None
        if video is not None and clip.face_offset >= 0:
            variants = range(video.variants if clip.split == "train" else 1)
            rows = [video.tokens(clip, variant) for variant in variants]
            seen = np.stack([row.T for row in rows if row is not None])
        yield Sample(
            clip.id, clip.corpus, clip.speaker,
            [store.tokens(variant, number).T for variant in range(store.variants)],
            [store.frames(variant, number) for variant in range(store.variants)],
            teacher, seen,
        )  # fmt: skip


def _largest(store: TokenStore, numbers: Sequence[int]) -> int:
    """The largest token, which decides whether a byte is enough for one."""
    found = (store.tokens(variant, n) for variant in range(store.variants) for n in numbers)
    return max(int(tokens.max()) for tokens in found if tokens.size)


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; exit code 2 where it can't be done."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "write":
            shards = write_shards(
                given.prepared, given.tokens, given.out, splits=given.split or ["train"],
                shard_bytes=given.shard_mib * 2**20, seed=given.seed, tokenizer=given.tokenizer,
            )  # fmt: skip
        else:
            shards = Shards(given.folder)
        if given.command == "verify":
            shards.verify()
    except (ShardError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    facts = {"shards": len(shards.index["shards"]), **shards.index["totals"], **shards.index["schema"]}
    print(json.dumps(facts, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.shards", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="write shards")
    write.add_argument("--prepared", type=Path, required=True, help="folder of the stage `prepare`")
    write.add_argument("--tokens", type=Path, required=True, help="folder of the stage `tokenise`")
    write.add_argument("--out", type=Path, required=True, help="folder to write into")
    write.add_argument(
        "--tokenizer", type=Path, help="model.safetensors of the stage `tokenizer`, to go along"
    )
    write.add_argument("--split", action="append", help="clips to write (default: train); may be repeated")
    write.add_argument("--shard-mib", type=int, default=DEFAULT_BYTES // 2**20, help="a shard's size at most")
    write.add_argument("--seed", type=int, default=0, help="of the order of the clips")
    for name, text in (("verify", "read everything and compare the hashes"), ("show", "print the totals")):
        commands.add_parser(name, help=text).add_argument("folder", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
