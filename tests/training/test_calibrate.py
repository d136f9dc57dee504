"""Calibration finds the temperature that was hidden, takes quantiles right, and refuses a leg that does harm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.config import HeadConfig
from models.heads import LineRelativeHead
from models.student import AudioEncoder
from tests.models import tiny
from tests.training import made
from training.calibrate import (
    CalibrateConfig,
    DevSet,
    _corpus_even,
    _weighted_quantile,
    calibrate,
    choose_leg_gain,
    dev_set,
    fit_temperature,
    head_logits,
    line_states,
    load_calibration,
    mean_uar,
    with_legs,
)
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES
from training.data.legs import EmbeddingTable, LegKind, Population, population_of


def posterior_labels(
    temperature: float, rows: int = 20_000
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits, and one-hot labels drawn from their softmax at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (rows, 4)).astype(np.float32)
    posterior = np.exp(logits / temperature)
    posterior /= posterior.sum(axis=1, keepdims=True)
    drawn = (posterior.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return logits, np.eye(4, dtype=np.float32)[drawn]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    """Labels drawn at a temperature are best explained by it."""
    logits, labels = posterior_labels(temperature)
    allowed = np.ones_like(labels, dtype=np.bool_)
    weights = np.full(len(logits), 1 / len(logits), np.float32)
    assert fit_temperature(logits, labels, allowed, weights) == pytest.approx(temperature, rel=0.05)


def test_rows_without_weight_and_categories_not_held_don_t_count() -> None:
    """Half of the rows drawn at another temperature with weight 0, and a column that no corpus holds."""
    logits, labels = posterior_labels(1.0)
    other, other_labels = posterior_labels(4.0)
    wild = np.full((len(logits), 1), 50.0, np.float32)
    together = np.concatenate([np.hstack([logits, wild]), np.hstack([other, wild])])
    wanted = np.concatenate([np.pad(labels, ((0, 0), (0, 1))), np.pad(other_labels, ((0, 0), (0, 1)))])
    allowed = np.tile(np.array([True, True, True, True, False]), (len(together), 1))
    weights = np.repeat(np.array([1.0, 0.0], np.float32), len(logits))
    assert fit_temperature(together, wanted, allowed, weights) == pytest.approx(1.0, rel=0.05)


def test_weighted_quantiles() -> None:
    """Equal weights: the usual order statistic; a heavy value takes its share of the mass."""
    values = np.array([5, 1, 4, 2, 3], np.float32)
    even = np.ones(5, np.float32)
    assert [_weighted_quantile(values, even, s) for s in (0.2, 0.4, 0.5, 1.0)] == [1, 2, 3, 5]
    heavy = np.array([1, 6, 1, 1, 1], np.float32)
    assert _weighted_quantile(values, heavy, 0.5) == 1
    assert _weighted_quantile(values, heavy, 0.65) == 2


def test_corpora_weigh_alike() -> None:
    """Three clips of one corpus weigh as much as one of another."""
    assert _corpus_even(["a", "b", "a", "a"]).tolist() == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])


def made_dev(rows: int = 84, voices: float = 0.0) -> DevSet:
    """Clips of seven categories whose embedding is the category with noise; three speakers with every category.

    voices: how far apart the speakers are.
    """
    rng = np.random.default_rng(0)
    category = np.arange(rows) % 7
    vectors = np.eye(7, dtype=np.float32)[category] + 0.1 * rng.standard_normal((rows, 7)).astype(np.float32)
    vectors += voices * rng.standard_normal((3, 7)).astype(np.float32)[np.arange(rows) // 28]
    speaker = np.array([f"made:{i // 28}" for i in range(rows)])
    table = EmbeddingTable(vectors[None], category, np.full(rows, "made"), speaker)
    return DevSet(table, np.eye(7, dtype=np.float32)[category], np.ones((rows, 7), np.bool_))


def made_head(leg_sign: float) -> tuple[LineRelativeHead, Population]:
    """A head that reads the category off the embedding, and a leg branch that helps (+1) or misleads (-1)."""
    torch.manual_seed(0)
    head = LineRelativeHead(HeadConfig(hidden=14, leg_prior=1.0), 7, 7).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.direct.weight.copy_(0.3 * torch.eye(7))
        head.leg[0].weight[:7].copy_(torch.eye(7))
        head.leg[3].weight[:, :7].copy_(leg_sign * torch.eye(7))
        head.leg_gain.fill_(1.0)
    dev = made_dev()
    return head, population_of(dev.table, 10.0)


def test_recall_is_averaged_over_corpora() -> None:
    """Perfect logits: 1; the category that a corpus lacks can't be said there."""
    dev = made_dev()
    logits = 5 * dev.labels
    assert mean_uar(logits, dev) == 1.0
    misled = logits.copy()
    misled[:, 0] = 9.0
    assert mean_uar(misled, dev) == pytest.approx(1 / 7)
    allowed = dev.allowed.copy()
    allowed[:, 0] = False
    assert mean_uar(misled, DevSet(dev.table, dev.labels, allowed)) == pytest.approx(6 / 7)


def test_a_leg_that_misleads_is_switched_off() -> None:
    """No gain without harm: zero, and the head is set so."""
    head, population = made_head(-1.0)
    gain, figures = choose_leg_gain(head, made_dev(), population, CalibrateConfig(profile_n=20))
    assert gain == 0.0
    assert float(head.leg_gain) == 0.0
    assert figures["uar_constant_gain_1.0"] <= figures["uar_no_leg"]


def test_a_leg_that_helps_is_adopted() -> None:
    """Where voices hide the categories and the leg takes them out, the leg gets its weight."""
    head, population = made_head(1.0)
    gain, figures = choose_leg_gain(
        head, made_dev(voices=2.0), population, CalibrateConfig(profile_n=20, leg_n=20, leg_loss=0.1)
    )
    assert gain > 0
    assert float(head.leg_gain) == gain
    assert figures[f"uar_balanced_gain_{gain}"] > figures["uar_no_leg"]


def test_states_of_lines_and_legs() -> None:
    """Cold lines are the population; a leg is added to the same lines, of n utterances where there are any."""
    dev, (_, population) = made_dev(), made_head(1.0)
    cold = line_states(dev.table, population, 0, np.random.default_rng(0))
    np.testing.assert_allclose(cold.line_mean, np.tile(population.mean, (84, 1)), atol=1e-6)
    assert not cold.leg_n.any()
    legs = with_legs(cold, dev.table, LegKind.CONSTANT, 5, np.random.default_rng(0))
    assert np.array_equal(legs.line_mean, cold.line_mean)
    assert (legs.leg_n == 5).all()
    assert np.array_equal(legs.leg_mean.argmax(axis=1), dev.table.category)


def test_logits_are_the_heads(tmp_path: Path) -> None:
    """Rows in, logits and speech logits out, without dropout."""
    head, population = made_head(1.0)
    dev = made_dev()
    states = line_states(dev.table, population, 30, np.random.default_rng(0))
    logits, speech = head_logits(head.train(), dev.table.vectors[0], states)
    assert logits.shape == (84, 7)
    assert speech.shape == (84,)
    assert np.array_equal(logits.argmax(axis=1), dev.table.category)


def test_the_stage_writes_what_it_chose(tmp_path: Path) -> None:
    """From tokens to `calibration.json`: read back it is the same, and its thresholds leave the shares they should."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips(3), teacher_dim=0)
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    torch.manual_seed(0)
    encoder = AudioEncoder(tiny.ENCODER, tiny.TOKENIZER)
    head = LineRelativeHead(HeadConfig(hidden=8), 8, len(CATEGORIES))
    dev = dev_set(encoder, cache, store)
    assert len(dev.labels) == 21
    population = population_of(dev.table, 10.0)
    config = CalibrateConfig(abstain_share=0.2, speech_loss=0.1, corpus_loss=0.1, profile_n=10)
    chosen = calibrate(config, head, encoder, population, cache, store, tmp_path / "out")
    path = tmp_path / "out" / "calibration.json"
    assert load_calibration(path) == chosen
    assert json.loads(path.read_text())["leg_gain"] == float(head.leg_gain)
    assert 0.3 <= chosen.temperature <= 5.0
    assert 1 / 7 <= chosen.min_confidence <= 1
    assert chosen.speech_threshold == 0.0
    assert chosen.sound_shift == pytest.approx(head.sound_shift.tolist())
    _, speech = head_logits(
        head, dev.table.vectors[0], line_states(dev.table, population, 0, np.random.default_rng(0))
    )
    assert (speech < 0).mean() <= 0.1
    assert chosen.dev["rejected_speech"] == pytest.approx((speech < 0).mean(), abs=1e-6)


def test_no_dev_clip_is_named(tmp_path: Path) -> None:
    """There is nothing to choose on, and the error says what to do."""
    cache = made.write_cache(tmp_path / "cache", [made.clip()], teacher_dim=0)
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    torch.manual_seed(0)
    with pytest.raises(CorpusError, match="no dev clip has a label: state `split` dev"):
        dev_set(AudioEncoder(tiny.ENCODER, tiny.TOKENIZER), cache, store)
