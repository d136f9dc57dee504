"""The token store gives back what was written, variant by variant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data.tokens import TokenStore, part_is_complete, write_facts, write_part


def test_tokens_come_back(tmp_path: Path) -> None:
    """Tokens [K, T] and frame numbers [T] per clip; a clip that was not rendered has length 0."""
    rng = np.random.default_rng(0)
    lengths = ((4, 7, 1), (5, 0, 3))
    written = [[rng.integers(0, 60_000, (n, 2)).astype(np.uint16) for n in row] for row in lengths]
    frames = [[rng.integers(0, 150, n).astype(np.int16) for n in row] for row in lengths]
    for variant in range(2):
        write_part(tmp_path, variant, written[variant], frames[variant])
    write_facts(tmp_path, 2, 2, 3)
    store = TokenStore(tmp_path)
    assert (store.variants, store.codebooks) == (2, 2)
    for variant, row in enumerate(lengths):
        for clip, length in enumerate(row):
            assert store.length(variant, clip) == length
            assert np.array_equal(store.tokens(variant, clip), written[variant][clip].T)
            assert np.array_equal(store.frames(variant, clip), frames[variant][clip])
            assert store.tokens(variant, clip).dtype == np.int64


def test_a_variant_is_complete_when_all_of_it_is_there(tmp_path: Path) -> None:
    """The offsets come last; without the store's facts nothing can be read."""
    assert not part_is_complete(tmp_path, 0)
    write_part(tmp_path, 0, [np.zeros((2, 1), np.uint16)], [np.zeros(2, np.int16)])
    assert part_is_complete(tmp_path, 0)
    with pytest.raises(FileNotFoundError):
        TokenStore(tmp_path)
