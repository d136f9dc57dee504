"""Features of many clips, kept on disk: they do not change between bundles, and listening takes long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.baselines.features import SYSTEMS, Floats, Listener
from training.data.batches import plain
from training.data.cache import AudioCache, Clip
from training.data.telephony import CLEAN


def features_of(system: str, cache: AudioCache, clips: Sequence[Clip], folder: Path) -> Floats:
    """Features [N, D] of the clean rendering of these clips, in their order.

    A corpus's split is one file, `<folder>/<system>/<corpus>.<split>.npz`; what it lacks is listened to and added. The
    system is opened only if something is missing.

    Raises:
        BaselineMissingError: something is missing, and so is the system's package.
    """
    listener: Listener | None = None
    found: dict[str, Floats] = {}
    for (corpus, split), group in groupby(sorted(clips, key=_part), key=_part):
        part = {_name(clip): clip for clip in group}
        path = folder / system / f"{corpus}.{split}.npz"
        kept = read_part(path)
        missing = [clip for name, clip in part.items() if name not in kept]
        if missing:
            listener = listener or SYSTEMS[system].open()
            heard = listen_to(listener, cache, missing, f"{system}: {corpus} {split}")
            kept |= {_name(clip): row for clip, row in zip(missing, heard, strict=True)}
            write_part(path, kept)
        found |= {name: kept[name] for name in part}
    return np.stack([found[_name(clip)] for clip in clips])


def listen_to(listener: Listener, cache: AudioCache, clips: Sequence[Clip], label: str) -> Floats:
    """Features [N, D] of the rendering that the bundle is measured on in its clean condition."""
    rng = np.random.default_rng(0)  # the clean line draws nothing that is heard
    rows = [
        listener(plain(cache, clip, CLEAN, rng, ()).audio)
        for clip in tqdm(clips, desc=label, unit="clip", mininterval=5)
    ]
    return np.stack(rows)


def read_part(path: Path) -> dict[str, Floats]:
    """What was kept: features by clip."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as kept:
        return dict(zip(kept["names"].tolist(), kept["features"], strict=True))


def write_part(path: Path, rows: Mapping[str, Floats]) -> None:
    """Keep features by clip; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez(partial, names=np.array(list(rows)), features=np.stack(list(rows.values())))
    partial.replace(path)


def _part(clip: Clip) -> tuple[str, str]:
    return clip.corpus, clip.split


def _name(clip: Clip) -> str:
    # The length too: another cut of the same recording sounds different.
    return f"{clip.id}@{clip.samples}"
