"""Figures are of clips that the profile did not hear, by the serving code, and say what they are of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training import made
from training.data.cache import AudioCache
from training.data.legs import LegKind
from training.evaluate import headline, int8_loss
from training.evaluation_sets import EvaluationSet
from training.measure import (
    describe_set,
    leave_one_speaker_out,
    measure_cost,
    measure_gate,
    row,
    scored_uar,
)
from training.measurer import (
    Embedded,
    EvaluateConfig,
    Judged,
    Measurer,
    embed_set,
    judge,
    judge_cold,
    judge_legs,
)
from training.run import Run

pytestmark = pytest.mark.slow

CONFIG = EvaluateConfig(draws=3, bootstrap=50)


@pytest.fixture(scope="module")
def measurer(debug_run: Run) -> Measurer:
    """The debug bundle."""
    return Measurer(debug_run.path("export"), "int8", threads=1)


@pytest.fixture(scope="module")
def data(measurer: Measurer) -> Embedded:
    """84 clips of three speakers, the category in the first seven dimensions of the embedding."""
    rng = np.random.default_rng(0)
    truth = np.arange(84) % 7
    width = measurer.bundle.manifest.encoder.embedding_dim
    vectors = 0.1 * rng.standard_normal((84, width)).astype(np.float32)
    vectors[np.arange(84), truth] += 1
    speakers = [f"s{i // 28}" for i in range(84)]
    clips = [
        made.clip(id=f"{i}", speaker=speakers[i], sex=("female", "male", None)[i // 28]) for i in range(84)
    ]
    return Embedded(vectors, truth, speakers, clips, np.ones((84, 7), np.bool_))


def perfect(data: Embedded, rows: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None) -> Judged:
    """Predictions that are all right."""
    chosen = np.arange(len(data.truth)) if rows is None else rows
    return Judged(chosen, 5 * np.eye(7, dtype=np.float32)[data.truth[chosen]])


def test_a_profile_is_never_tested_on(measurer: Measurer, data: Embedded) -> None:
    """Each draw tests what it did not hear; its logits are the head's for the line of what it heard."""
    judged = judge(measurer, data, 20, CONFIG)
    assert judged is not None
    draws = judged.rows.reshape(3, 64)
    for draw, logits in zip(draws, judged.logits.reshape(3, 64, 7), strict=True):
        assert len(set(draw.tolist())) == 64
        heard = np.array(sorted(set(range(84)) - set(draw.tolist())))
        expected = measurer.alone(data.vectors[draw], measurer.line(data.vectors[heard]), 20)["logits"]
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert len({tuple(draw.tolist()) for draw in draws}) == 3


def test_small_sets_have_no_large_profile(measurer: Measurer, data: Embedded) -> None:
    """A profile of more than three quarters of the set would leave too few to test."""
    assert judge(measurer, data, 64, CONFIG) is None
    cold = judge(measurer, data, 0, CONFIG)
    assert cold is not None
    np.testing.assert_array_equal(cold.logits, judge_cold(measurer, data).logits)


def test_a_cold_line_is_the_population(measurer: Measurer, data: Embedded) -> None:
    """No utterances: the bundle's population; many: the line's own mean."""
    mean, std = measurer.line(data.vectors[:0])
    spec = measurer.bundle.manifest.line_profile
    np.testing.assert_allclose(mean, spec.population_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(spec.population_var), rtol=1e-5)
    far, _ = measurer.line(np.repeat(data.vectors[:1], 10_000, axis=0))
    np.testing.assert_allclose(far, data.vectors[0], atol=0.01)


def test_legs_are_judged_cold(measurer: Measurer, data: Embedded) -> None:
    """One prediction a clip, different from the one without a leg unless calibration switched it off."""
    judged = judge_legs(measurer, data, LegKind.CONSTANT, CONFIG)
    assert judged.logits.shape == (84, 7)
    assert np.array_equal(judged.rows, np.arange(84))


def test_a_set_is_rendered_tokenised_and_encoded(measurer: Measurer, debug_run: Run) -> None:
    """Every clip of the set once, truth and speakers with it; the same each time; nothing for a set without clips."""
    cache = AudioCache(debug_run.path("prepare"))
    test = EvaluationSet("x", "synthetic", "test", "", ("angry", "sad"))
    config = EvaluateConfig(limit=4)
    one, other = (embed_set(measurer, cache, test, "loss_5pct", config) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.vectors, other.vectors)
    assert set(one.truth.tolist()) == {0, 5}
    assert set(one.speakers) == {"synthetic:s5"}
    assert one.allowed[0].tolist() == [True, False, False, False, False, True, False]
    assert embed_set(measurer, cache, EvaluationSet("y", "nowhere", "test", "", ()), "clean", config) is None


def test_the_gate_is_measured_by_kind(measurer: Measurer, data: Embedded, debug_run: Run) -> None:
    """Without noise in the cache there is the share of speech that is rejected, and nothing else."""
    (found,) = measure_gate(measurer, AudioCache(debug_run.path("prepare")), {"set": data})
    assert (found["set"], found["n"], found["speakers"]) == ("gate_speech", 84, 3)
    assert 0 <= found["value"] <= 1


def test_noise_is_measured_by_the_first_word_of_its_kind(
    measurer: Measurer, data: Embedded, tmp_path: Path
) -> None:
    """Test noise only: two pieces of music and a background, each kind with its own share."""
    noise = made.clip(corpus="noise", emotion=None, split="test", samples=4_000, lead=0, active=4_000)
    kinds = {"1": "music_jazz", "2": "music_pop", "3": "background_street"}
    clips = [replace(noise, id=n, speaker=f"noise:{n}", kind=kind) for n, kind in kinds.items()]
    clips.append(replace(clips[0], id="4", split="train"))
    rows = measure_gate(measurer, made.write_cache(tmp_path, clips, teacher_dim=0), {"set": data})
    assert [(r["set"], r["n"]) for r in rows] == [
        ("gate_background", 1),
        ("gate_music", 2),
        ("gate_speech", 84),
    ]


def test_cost_is_of_every_part(debug_run: Run) -> None:
    """Tokenizer, encoder and head, in milliseconds, on one thread."""
    rows = measure_cost(debug_run.path("export"), "fp32")
    assert [r["what"] for r in rows] == ["tokenizer, 4 s", "encoder fp32, 4 s", "head"]
    assert all(r["value"] > 0 and r["unit"] == "ms" and "one thread" in r["note"] for r in rows)


def test_a_set_is_described(measurer: Measurer, data: Embedded) -> None:
    """Recalls, confusion, calibration, abstention, and gaps of the speakers whose sex is known."""
    found = describe_set(measurer, data, CONFIG)
    assert list(found["recalls"]) == found["confusion"]["labels"]
    assert np.array(found["confusion"]["matrix"]).sum() == 3 * 34
    assert set(found["sex"]) == {"female", "male"}
    assert all(group["speakers"] == 1 for group in found["sex"].values())
    assert found["risk_coverage"]["points"][-1][0] == 1.0
    assert 0 <= found["ece"]["after"] <= 1


def test_recall_and_its_interval(data: Embedded) -> None:
    """All right: 1 with an interval of nothing; one speaker: no interval; a category that is not held can't be said."""
    assert scored_uar(data, perfect(data), CONFIG) == (1.0, 1.0, 1.0)
    assert scored_uar(data, perfect(data, np.arange(28)), CONFIG) == (1.0, None, None)
    held = Embedded(data.vectors, data.truth, data.speakers, data.clips, data.allowed & (np.arange(7) != 0))
    value, _, _ = scored_uar(held, perfect(held), CONFIG)
    assert value == pytest.approx(6 / 7)


def test_a_row_says_what_it_is_of(data: Embedded) -> None:
    """Clips are counted once, however many draws they were in."""
    test = EvaluationSet("made7", "made", "test", "", ())
    found = row("int8", test, "clean", 20, data, perfect(data, np.array([0, 1, 1, 29])), CONFIG)
    assert (found["name"], found["set"], found["condition"], found["profile_n"]) == (
        "int8",
        "made7",
        "clean",
        20,
    )
    assert (found["n"], found["speakers"], found["value"]) == (3, 3, 1.0)


def test_speakers_are_left_out_one_by_one(data: Embedded) -> None:
    """On embeddings that hold the category, logistic regression learns it from the other speakers."""
    found = leave_one_speaker_out(data, CONFIG)
    assert found["value"] == 1.0
    assert (found["n"], found["speakers"], found["name"]) == (84, 3, "embedding + LR")


def result(name: str, set_: str, value: float, **changes: object) -> dict[str, object]:
    """A row of results, clean and cold unless changed."""
    fields = {
        "name": name,
        "set": set_,
        "condition": "clean",
        "profile_n": 0,
        "metric": "UAR",
        "value": value,
    }
    return fields | changes


def test_what_int8_loses() -> None:
    """The mean over sets of fp32 minus int8, clean and cold only: (0.10 - 0.02) / 2."""
    rows = [
        result("int8", "a", 0.60),
        result("fp32", "a", 0.70),
        result("int8", "b", 0.52),
        result("fp32", "b", 0.50),
        result("fp32", "a", 0.99, profile_n=50),
        result("int8", "a", 0.10, condition="snr_10db"),
        result("embedding + LR", "c", 0.9),
    ]
    assert int8_loss(rows) == pytest.approx(0.04)


def test_the_headline() -> None:
    """The default variant's clean figures, cold and with a profile of 50, by short names."""
    rows = [
        result("int8", "a", 0.61234567),
        result("int8", "a", 0.7, profile_n=50),
        result("int8", "a", 0.8, profile_n=200),
        result("int8", "a", 0.1, condition="snr_10db"),
        result("fp32", "a", 0.9),
    ]
    assert headline(rows, "int8") == {"uar_a_profile_0": 0.6123, "uar_a_profile_50": 0.7}
