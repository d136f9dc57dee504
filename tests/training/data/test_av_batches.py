"""Steps of faces and steps of sound: how often, of whom, and always the same for the same step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training import made, made_faces
from training.data.av_batches import AvBatchConfig, FacedBatches, MixedBatches
from training.data.token_batches import TokenBatchConfig, TokenData, unlabelled_data

CONFIG = TokenBatchConfig(budget_frames=200, max_frames=20)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TokenData:
    """Training clips: one of sound alone, and those with made faces."""
    folder: Path = tmp_path_factory.mktemp("data")
    cache = made_faces.write_cache(folder / "cache")
    store = made.write_store(folder / "tokens", cache, 2, 32)
    numbers = [n for n, clip in enumerate(cache.clips) if clip.split == "train"]
    plain = unlabelled_data(cache, store, numbers, np.ones(len(numbers)))
    return replace(plain, video=made_faces.write_tokens(folder / "video", cache))


def test_faces_come_as_often_as_asked(data: TokenData) -> None:
    """About a quarter of the steps, and none where the share is 0, whatever video there is."""
    mixed = MixedBatches(data, CONFIG, AvBatchConfig(share=0.25), 0)
    kinds = [mixed.has_faces(step) for step in range(400)]
    assert sum(kinds) / 400 == pytest.approx(0.25, abs=0.06)
    for step in range(8):
        assert ("video" in mixed[step]) == kinds[step]
    without = MixedBatches(data, CONFIG, AvBatchConfig(share=0.0), 0)
    assert not any("video" in without[step] for step in range(8))


def test_every_clip_of_such_a_step_has_a_face(data: TokenData) -> None:
    """All differ, several speakers and several clips of one; as short as asked."""
    faced = FacedBatches(data, CONFIG, AvBatchConfig(speakers=3, clips_each=3, max_frames=9), 0)
    for step in range(6):
        places, _ = faced.draw(step)
        whose = Counter(data.cache.clips[data.numbers[int(place)]].speaker for place in places)
        assert whose == {"faced:a": 3, "faced:b": 2, "faced:c": 1}
        assert len(set(places.tolist())) == len(places)
        batch = faced[step]
        assert batch["video"].shape == (6, 3, 9)
        assert torch.equal(batch["video_length"], batch["length"])


def test_speakers_are_drawn_by_a_power_of_their_clips(data: TokenData) -> None:
    """With power 0 each of three is drawn alike; with 4 the one of four clips nearly always."""
    for power, low, high in ((0.0, 0.2, 0.47), (4.0, 0.85, 1.0)):
        faced = FacedBatches(data, CONFIG, AvBatchConfig(speakers=1, clips_each=1, speaker_power=power), 0)
        drawn = [data.cache.clips[data.numbers[int(faced.draw(s)[0][0])]].speaker for s in range(200)]
        assert low <= drawn.count("faced:a") / 200 <= high


def test_a_step_repeats(data: TokenData) -> None:
    """(seed, step) is one batch."""
    config = AvBatchConfig(share=0.5, speakers=2, clips_each=2, max_frames=9)
    one, same = (MixedBatches(data, CONFIG, config, 3) for _ in range(2))
    for step in range(6):
        first, second = one[step], same[step]
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_faces_there_is_nothing_to_draw(data: TokenData) -> None:
    """Neither without tokens of them, nor without clips that have any."""
    with pytest.raises(ValueError, match="no clip has tokens of its face"):
        FacedBatches(replace(data, video=None), CONFIG, AvBatchConfig(), 0)
    alone = replace(data, numbers=[0], weights=np.ones(1), targets=[None], corpora=[0])
    with pytest.raises(ValueError, match="no clip has tokens of its face"):
        FacedBatches(alone, CONFIG, AvBatchConfig(), 0)


def test_a_configuration_out_of_range_is_refused() -> None:
    """A share is a share, and counts are counts."""
    with pytest.raises(ValueError, match="share must lie between 0 and 1, got 2"):
        AvBatchConfig(share=2)
    with pytest.raises(ValueError, match="at least 1"):
        AvBatchConfig(speakers=0)
