"""Tokenising: every clip in its plain rendering, training clips in others too; what is finished is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import tiny
from tests.training import made
from training.data.batches import plain
from training.data.cache import AudioCache
from training.data.telephony import CLEAN
from training.data.tokens import TokenStore
from training.tokenise import TokeniseConfig, tokenise

CONFIG = TokeniseConfig(variants=3, max_frames=20, batch=5, workers=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of made clips."""
    folder = tmp_path_factory.mktemp("prepared")
    made.write_cache(folder, made.labelled_clips(1), teacher_dim=0)
    return folder


def test_the_plain_rendering_is_the_tokenizers(prepared: Path, tmp_path: Path) -> None:
    """Variant 0 of a clip is what the tokenizer gives for it alone; dev and test have no other variant."""
    cache, tokenizer = AudioCache(prepared), tiny.tokenizer()
    tokenise(CONFIG, prepared, tokenizer, tmp_path)
    store = TokenStore(tmp_path)
    assert store.variants == 3
    for number in (0, 17, len(cache.clips) - 1):
        made_audio = plain(cache, cache.clips[number], CLEAN, np.random.default_rng(0), ())
        audio = torch.from_numpy(made_audio.audio[: 20 * 320])[None]
        with torch.no_grad():
            alone, _ = tokenizer(audio, tokenizer.initial_state(1))
        assert np.array_equal(store.tokens(0, number), alone[0].numpy())
        assert np.array_equal(store.frames(0, number), made_audio.frames[:20])
    for number, clip in enumerate(cache.clips):
        assert 1 <= store.length(0, number) <= 20
        assert (store.length(1, number) > 0) == (clip.split == "train")


def test_it_goes_on_after_a_kill(prepared: Path, tmp_path: Path) -> None:
    """With two variants finished and the third lost, only the third is rendered, to the same tokens."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        tokenise(CONFIG, prepared, tiny.tokenizer(), folder)
    for name in ("facts.json", "offsets.2.npy"):
        (broken / name).unlink()
    (broken / "tokens.2.u16").write_bytes(b"half")
    kept = (broken / "tokens.1.u16").stat().st_mtime_ns
    tokenise(CONFIG, prepared, tiny.tokenizer(), broken)
    assert (broken / "tokens.1.u16").stat().st_mtime_ns == kept
    for path in whole.iterdir():
        assert path.read_bytes() == (broken / path.name).read_bytes()
    tokenise(CONFIG, prepared / "not there", tiny.tokenizer(), broken)
