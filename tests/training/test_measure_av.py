"""What is said of retrieval, hidden tokens and missing modalities, checked where the answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.mae import MaskedAutoencoder, TokenBatch
from tests.models import tiny
from tests.training import made, made_faces
from training.measure_av import (
    MeasureAvConfig,
    hidden_token_figures,
    measure_av,
    missing_report,
    ranks,
    retrieval,
    retrieval_report,
    similarity,
    swapped,
    unseen_pool,
)

CONFIG = MeasureAvConfig(window=12, draws=2, resamples=50, batch=4)
MAE = replace(tiny.MAE, encoder=replace(tiny.ENCODER, teacher_dim=0), mask_span=2)


def test_ranks_count_what_is_better() -> None:
    """1 is the best; ties share; what isn't allowed isn't counted."""
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.3, 0.2, 0.1]])
    everyone = np.ones((3, 3), dtype=np.bool_)
    assert ranks(scores, everyone).tolist() == [[1.0, 3.0, 2.0], [1.5, 1.5, 3.0], [1.0, 2.0, 3.0]]
    fewer = everyone.copy()
    fewer[2, 0] = False
    assert np.diag(ranks(scores, fewer)).tolist() == [1.0, 1.5, 2.0]


def test_perfect_and_random_retrieval() -> None:
    """The right pairs on top give recall 1, far beyond chance; noise lies within what chance gives."""
    rng = np.random.default_rng(0)
    everyone = np.ones((40, 40), dtype=np.bool_)
    noise = rng.standard_normal((40, 40))
    perfect = retrieval(noise + 10 * np.eye(40), everyone, rng, 200)
    assert perfect["recall_at_1"]["value"] == 1.0
    assert perfect["recall_at_1"]["p"] < 0.01
    assert perfect["median_rank"] == 1.0
    assert perfect["median_rank_chance"] == 20.5
    assert perfect["recall_at_5"]["chance"] == 5 / 40
    low, high = perfect["recall_at_1"]["chance_interval"]
    assert low <= 1 / 40 <= high < 0.2
    random = retrieval(noise, everyone, rng, 200)
    assert random["recall_at_5"]["p"] > 0.02
    assert random["recall_at_5"]["interval"][0] <= random["recall_at_5"]["value"]


def test_identity_does_not_help_within_a_speaker() -> None:
    """Scores that only know the speaker beat chance among all clips, and not among the speaker's own."""
    speakers = ["a"] * 8 + ["b"] * 8 + ["c"]
    whose = np.array(speakers)
    scores = (whose[:, None] == whose[None]).astype(float)
    report = retrieval_report(scores, speakers, np.random.default_rng(0), 200)
    among, within = (report[name]["voice_to_face"] for name in ("among_all", "same_speaker"))
    assert among["queries"] == 17
    assert within["queries"] == 16
    assert among["recall_at_5"]["value"] >= among["recall_at_5"]["chance"] - 0.3
    assert among["median_rank"] < among["median_rank_chance"]
    assert within["median_rank"] == within["median_rank_chance"] == 4.5
    assert within["recall_at_1"]["value"] == 0.0
    assert within["recall_at_1"]["p"] > 0.9


def test_another_clip_is_the_same_speakers_where_there_is_one() -> None:
    """And never the clip itself."""
    speakers = ["a", "b", "a", "c", "b", "a"]
    other = swapped(speakers)
    assert all(int(one) != at for at, one in enumerate(other))
    assert all(speakers[int(one)] == speakers[at] for at, one in enumerate(other) if speakers[at] != "c")


def test_a_missing_modality_that_changes_nothing() -> None:
    """Then the embedding is its own nearest, with a cosine of 1."""
    both = np.random.default_rng(0).standard_normal((6, 4))
    report = missing_report({"both": both, "audio": 2 * both, "video": both[::-1]})
    assert report["without_video"]["own"] == pytest.approx(1.0)
    assert report["without_video"]["recall_at_1"] == 1.0
    assert report["without_audio"]["recall_at_1"] == 0.0
    assert report["without_audio"]["chance"] == round(1 / 6, 4)
    assert similarity(both, both).shape == (6, 6)


def test_the_whole_report(tmp_path: Path) -> None:
    """Plain values for the dev and test speakers together and apart, the same again; no training clip is in it."""
    cache = made_faces.write_cache(tmp_path / "cache")
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    video = made_faces.write_tokens(tmp_path / "tokens", cache)
    torch.manual_seed(0)
    model = MaskedAutoencoder(MAE, tiny.TOKENIZER)
    report = measure_av(model, cache, store, video, CONFIG)
    assert report["clips"] == 6
    assert report["speakers"] == {"faced:d": 3, "faced:e": 3}
    assert report["window_s"] == 0.48
    for name, clips in (("all", 6), ("dev", 3), ("test", 3)):
        part = report[name]
        assert part["clips"] == clips
        assert set(part) == {
            "clips",
            "speakers",
            "retrieval",
            "retrieval_by_course",
            "hidden_video",
            "hidden_audio",
            "missing",
        }
        assert part["retrieval"]["same_speaker"]["face_to_voice"]["candidates"] == 3.0
        assert part["hidden_video"]["gain_over_without"]["value"] == pytest.approx(
            part["hidden_video"]["without"]["loss"] - part["hidden_video"]["with"]["loss"], abs=2e-4
        )
    assert json.loads(json.dumps(report)) == report
    assert measure_av(model, cache, store, video, CONFIG) == report


def test_too_few_faces_are_named(tmp_path: Path) -> None:
    """A window longer than the clips leaves none."""
    cache = made_faces.write_cache(tmp_path / "cache")
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    video = made_faces.write_tokens(tmp_path / "tokens", cache)
    model = MaskedAutoencoder(MAE, tiny.TOKENIZER)
    assert len(unseen_pool(cache, store, video, 500)) == 0
    with pytest.raises(ValueError, match="fewer than two dev or test clips have faces for 500 tokens"):
        measure_av(model, cache, store, video, replace(CONFIG, window=500))


def test_sound_that_says_what_is_hidden_is_worth_something(tmp_path: Path) -> None:
    """A model whose video decoder reads the answer off the sound: its gain over no sound is above 0.

    Made tokens of faces are those of the sound, so a few steps of training suffice.
    """
    cache = made_faces.write_cache(tmp_path / "cache")
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    pool = unseen_pool(cache, store, made_faces.write_tokens(tmp_path / "tokens", cache), 12)
    rng = torch.Generator().manual_seed(0)
    told = torch.randint(8, (6, 1, 12), generator=rng)
    pool = replace(pool, audio=told.expand(6, 2, 12), video=told.expand(6, 3, 12))
    torch.manual_seed(0)
    model = MaskedAutoencoder(MAE, tiny.TOKENIZER)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    length = torch.full((32,), 12)
    for _ in range(150):
        seen = torch.randint(8, (32, 1, 12), generator=rng)
        everything = torch.ones(32, 12, dtype=torch.bool)
        output = model(
            TokenBatch(seen.expand(32, 2, 12), length), TokenBatch(seen.expand(32, 3, 12), length, everything)
        )
        assert output.video_logits is not None
        loss = torch.nn.functional.cross_entropy(
            output.video_logits.flatten(0, 2), seen.expand(32, 3, 12).transpose(1, 2).flatten()
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    figures = hidden_token_figures(model.eval(), pool, CONFIG)["hidden_video"]
    assert figures["with"]["loss"].mean() < figures["without"]["loss"].mean()
    assert figures["with"]["loss"].mean() < figures["shuffled"]["loss"].mean()
    assert figures["with"]["accuracy"].mean() > figures["shuffled"]["accuracy"].mean()
