"""A posterior and a listener are held against the same shares of votes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training import made
from training.corpora.labels import CATEGORIES, CORPUS_CATEGORIES, category_mask
from training.measure_votes import METRIC, divergence, listener_of, measure_votes, votes_of
from training.measurer import Embedded, EvaluateConfig, Judged
from training.metrics import jensen_shannon

CONFIG = EvaluateConfig(bootstrap=40, baselines=())


def test_jensen_shannon_by_hand() -> None:
    """P = (1, 0), q = (½, ½), m = (¾, ¼): ½ log₂(4/3) + ½ (½ log₂(2/3) + ½ log₂ 2) = 0.3113."""
    assert jensen_shannon([[1, 0]], [[0.5, 0.5]])[0] == pytest.approx(0.31128, abs=1e-5)
    assert jensen_shannon([[0.5, 0.5]], [[1, 0]])[0] == pytest.approx(0.31128, abs=1e-5)


def test_votes_are_counted_in_the_held_categories() -> None:
    """By the corpus's words, in the order of the held categories."""
    clips = [made.clip(votes={"sad": 3.0, "calm": 2.0}), made.clip(votes=None)]
    held = np.flatnonzero(category_mask(("neutral", "sad")))
    assert votes_of(clips, held).tolist() == [[2, 3], [0, 0]]


def test_every_listener_is_held_against_the_others() -> None:
    """Votes (2, 1): two listeners face others of (½, ½), one faces (1, 0)."""
    votes = np.array([[2.0, 1.0]])
    one_hot = np.eye(2)
    found = divergence(votes, lambda said: one_hot[said][None])
    assert found[0] == pytest.approx((2 * 0.31128 + 1.0) / 3, abs=1e-4)
    model = np.array([[0.5, 0.5]])
    against = (2 * 0.0 + jensen_shannon(model, [[1, 0]])[0]) / 3
    assert divergence(votes, lambda said: model)[0] == pytest.approx(against)


def test_listeners_are_read_kindly() -> None:
    """Smoothed is nearer than as given, the calibrated one at least as near on the clips it was learned from."""
    rng = np.random.default_rng(0)
    votes = np.array([rng.multinomial(8, rng.dirichlet([0.4, 0.4, 2.0])) for _ in range(300)], np.float64)
    mean = {}
    for kind in ("as given", "smoothed", "calibrated", "constant"):
        says = listener_of(kind, votes).says
        np.testing.assert_allclose(says.sum(axis=1), 1)
        mean[kind] = divergence(votes, lambda said, q=says: q[said][None]).mean()  # type: ignore[misc]
    assert mean["smoothed"] < mean["as given"]
    assert mean["calibrated"] < mean["as given"]
    constant = listener_of("constant", votes).says
    np.testing.assert_allclose(constant[0], (votes / 8).mean(axis=0))


def test_a_word_that_nobody_said_tells_nothing() -> None:
    """The calibrated reading of an unheard category is the mean."""
    votes = np.array([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0]])
    assert listener_of("calibrated", votes).says[2].tolist() == [0.5, 0.5, 0.0]


def test_rows_are_of_the_model_and_of_listeners(tmp_path: Path) -> None:
    """A model that says the votes is nearer than one listener; clips of one vote are left out."""
    spread = [{"neutral": 6.0, "sad": 2.0}, {"happy": 5.0, "neutral": 3.0}, {"angry": 4.0, "neutral": 4.0}]
    clips = [
        made.clip(
            id=f"{split}{n}", corpus="crema_d", speaker=f"{split}{n % 3}", split=split, votes=spread[n % 3]
        )
        for split in ("train", "test")
        for n in range(9)
    ]
    clips.append(made.clip(id="one", corpus="crema_d", speaker="test0", split="test", votes={"sad": 1.0}))
    cache = made.write_cache(tmp_path, clips, teacher_dim=0)
    mask = category_mask(CORPUS_CATEGORIES["crema_d"])
    tested = [c for c in clips if c.split == "test"]
    held = np.flatnonzero(mask)
    shares = votes_of(tested, held)
    logits = np.full((10, len(CATEGORIES)), -20.0, np.float32)
    logits[:, held] = np.log(shares / shares.sum(axis=1, keepdims=True) + 1e-6)
    none = np.zeros(10, np.int64)
    data = Embedded(
        np.zeros((10, 2), np.float32), none, [c.speaker for c in tested], tested, np.tile(mask, (10, 1)), none
    )
    judged = {0: Judged(np.arange(10), logits, none)}
    rows = measure_votes("int8", cache, data, judged, 1.0, CONFIG, set_name="crema6_votes")
    found = {(r["name"], r["metric"]): r["value"] for r in rows}
    assert found["int8", METRIC] < found["listener, smoothed", METRIC] <= found["listener, as given", METRIC]
    less = found["int8", "listener's divergence minus the model's"]
    assert less == pytest.approx(found["listener, smoothed", METRIC] - found["int8", METRIC])
    assert measure_votes("int8", cache, data.part(np.array([9])), {}, 1.0, CONFIG, set_name="x") == []
