"""Sounds for the head: every kind under its name, whole and in stretches, drawn by their shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import HeadConfig
from models.student import AudioEncoder
from tests.models import tiny
from tests.training import made
from training.data.cache import AudioCache, Clip
from training.data.tokens import TokenStore
from training.data.tones import UNHEARD
from training.head_data import HeadStageConfig
from training.sounds import SoundData, cut, draw_weights, gather_sounds, sound_number, tone_tokens

CONFIG = HeadStageConfig(model=HeadConfig(hidden=8), variants=2, tones=6, cuts=1)
TOKENIZER = replace(tiny.TOKENIZER, codebook_size=16)


def noise(name: str, kind: str) -> Clip:
    """Two seconds of a kind of noise."""
    return made.clip(
        id=f"noise/{name}", corpus="noise", speaker=f"noise:{name}", emotion=None, kind=kind, lead=0
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[AudioCache, TokenStore]:
    """Labelled clips, background and music; laughter, a prompt and unlabelled speech."""
    folder = tmp_path_factory.mktemp("sounds")
    more = [noise("laugh", "nonverbal_laughing"), noise("prompt", "ivr_prompt")]
    more.append(made.clip(id="ami/0", corpus="ami", speaker="ami:0", emotion=None))
    cache = made.write_cache(folder / "cache", [*made.labelled_clips(1), *more], teacher_dim=0)
    return cache, made.write_store(folder / "tokens", cache, 2, 16)


def sounds(config: HeadStageConfig, folders: tuple[AudioCache, TokenStore]) -> SoundData:
    """What an untrained encoder makes of them."""
    torch.manual_seed(0)
    return gather_sounds(config, AudioEncoder(tiny.ENCODER, TOKENIZER), tiny.tokenizer(), *folders)


def test_every_training_sound_has_its_kind(folders: tuple[AudioCache, TokenStore]) -> None:
    """Two renderings and a stretch of each clip that is not speech, two renderings of speech without a label, tones."""
    data = sounds(CONFIG, folders)
    names = np.array(CONFIG.model.sounds)[data.kind]
    found = {str(name): int((names == name).sum()) for name in np.unique(names)}
    assert found == {"speech": 2, "laughter": 3, "music": 3, "noise": 3, "prompt": 3, "tone": 6}
    assert data.vectors.shape == (20, 8)
    assert data.weights[data.kind == 0].sum() == pytest.approx(CONFIG.voice_share)


def test_a_head_is_told_only_of_what_it_shall_know(folders: tuple[AudioCache, TokenStore]) -> None:
    """Kinds that its configuration leaves out are left out of the data."""
    few = replace(CONFIG, model=HeadConfig(hidden=8, events=(), rejected=("music",)))
    data = sounds(few, folders)
    assert set(data.kind.tolist()) == {0, 1}
    assert sound_number(noise("x", "nonverbal_laughing"), few.model) is None
    assert sound_number(made.clip(), few.model) == 0


def test_sounds_are_drawn_by_weight() -> None:
    """Never one without weight; nothing where there is nothing."""
    data = SoundData(np.zeros((3, 2), np.float32), np.array([0, 1, 1]), np.array([0.5, 0.5, 0.0]))
    drawn = data.draw(200, np.random.default_rng(0))
    assert set(drawn.tolist()) == {0, 1}
    empty = SoundData(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), np.zeros(0))
    assert empty.draw(5, np.random.default_rng(0)).tolist() == []


def test_weights_share_out() -> None:
    """Corpora of speech alike within the voices' share; other kinds by the root of their number."""
    kind = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    corpus = np.array(["a", "a", "b", "", "", "", "", ""])
    weights = draw_weights(kind, corpus, 0.4)
    assert weights.tolist() == pytest.approx([0.1, 0.1, 0.2, *[0.1] * 4, 0.2])
    assert draw_weights(kind[:3], corpus[:3], 0.4).sum() == pytest.approx(1)


def test_a_stretch_is_of_the_clip(folders: tuple[AudioCache, TokenStore]) -> None:
    """Of music any run of tokens; of what a person utters the loud part, whole where all of it is."""
    cache, store = folders
    numbers = {clip.kind: n for n, clip in enumerate(cache.clips) if clip.split == "train"}
    whole = store.tokens(0, numbers["music_jazz"])
    piece = cut(cache, store, 0, numbers["music_jazz"], np.random.default_rng(0))
    starts = range(whole.shape[1] - piece.shape[1] + 1)
    assert 15 <= piece.shape[1] <= whole.shape[1]
    assert any(np.array_equal(whole[:, at : at + piece.shape[1]], piece) for at in starts)
    uttered = cut(cache, store, 0, numbers["nonverbal_laughing"], np.random.default_rng(0))
    assert np.array_equal(uttered, store.tokens(0, numbers["nonverbal_laughing"]))


def test_tones_are_made_anew_from_a_seed() -> None:
    """The same seed gives the same tokens; other patterns others."""
    one, again = (tone_tokens(tiny.tokenizer(), 3, 5) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    other = tone_tokens(tiny.tokenizer(), 3, 5, (), UNHEARD)
    assert len(other) == 3
