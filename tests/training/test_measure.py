"""Figures are of clips that the profile did not hear, by the serving code, and say what they are of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.training import made
from training.data.cache import AudioCache
from training.data.legs import LegKind
from training.evaluate import headline, int8_loss
from training.evaluation_sets import EvaluationSet
from training.measure import (
    ALL_SETS,
    LOST,
    UAR,
    condition_words,
    confusions_of,
    describe_set,
    described,
    embed_clean,
    judge_clean,
    leave_one_speaker_out,
    measure_clean,
    measure_cost,
    measure_gaps,
    measure_grid,
    measure_legs,
    row,
)
from training.measure_intervals import uar
from training.measurer import (
    Embedded,
    EvaluateConfig,
    Judged,
    Measurer,
    embed_set,
    judge,
    judge_cold,
    judge_legs,
    profile_draws,
)

BUNDLE = Path(__file__).parents[2] / "models" / "bundles" / "kowairo-8k"
CONFIG = EvaluateConfig(draws=3, bootstrap=50, profile_sizes=(20,), grid_clips=4, baselines=())
SET = EvaluationSet("made7", "made", "test", "", made.CATEGORIES)


@pytest.fixture(scope="module")
def measurer() -> Measurer:
    """The bundle that ships."""
    return Measurer(BUNDLE, "int8", threads=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> AudioCache:
    """Made clips: one test speaker, two of each category."""
    return made.write_cache(tmp_path_factory.mktemp("cache"), made.labelled_clips(), teacher_dim=0)


@pytest.fixture(scope="module")
def data(measurer: Measurer) -> Embedded:
    """84 clips of three speakers, the category in the first seven dimensions of the embedding."""
    rng = np.random.default_rng(0)
    truth = np.arange(84) % 7
    width = measurer.bundle.manifest.encoder.embedding_dim
    vectors = 0.1 * rng.standard_normal((84, width)).astype(np.float32)
    vectors[np.arange(84), truth] += 1
    speakers = [f"s{i // 28}" for i in range(84)]
    who = [("female", "en"), ("male", "en"), (None, "de")]
    clips = [
        made.clip(id=f"{i}", speaker=speakers[i], sex=who[i // 28][0], language=who[i // 28][1])
        for i in range(84)
    ]
    return Embedded(vectors, truth, speakers, clips, np.ones((84, 7), np.bool_), np.arange(84))


def perfect(data: Embedded, rows: npt.NDArray[np.int64] | None = None) -> Judged:
    """Predictions that are all right."""
    chosen = np.arange(len(data.truth)) if rows is None else rows
    logits = 5 * np.eye(7, dtype=np.float32)[data.truth[chosen]]
    return Judged(chosen, logits, np.zeros(len(chosen), np.int64))


def test_a_profile_is_never_tested_on(measurer: Measurer, data: Embedded) -> None:
    """Each draw tests what it did not hear; its logits are the head's for the line of what it heard."""
    judged = judge(measurer, data, 20, CONFIG)
    assert judged is not None
    for number in range(3):
        mine = judged.draw == number
        tested = judged.rows[mine]
        assert len(set(tested.tolist())) == 64
        heard = np.array(sorted(set(range(84)) - set(tested.tolist())))
        expected = measurer.alone(data.vectors[tested], measurer.line(data.vectors[heard]), 20)["logits"]
        np.testing.assert_allclose(judged.logits[mine], expected, atol=1e-4)
    assert len({tuple(judged.rows[judged.draw == n].tolist()) for n in range(3)}) == 3


def test_small_sets_have_no_large_profile(measurer: Measurer, data: Embedded) -> None:
    """A profile of more than three quarters of the set would leave too few to test."""
    assert profile_draws(84, 64, CONFIG) == []
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
    """One prediction a clip, each against its own leg."""
    judged = judge_legs(measurer, data, LegKind.CONSTANT, CONFIG)
    assert judged.logits.shape == (84, 7)
    assert np.array_equal(judged.rows, np.arange(84))


def test_a_set_is_rendered_tokenised_and_encoded(measurer: Measurer, cache: AudioCache) -> None:
    """Some of its clips in a damaged condition, all when clean; the same each time; nothing without clips."""
    one, other = (embed_set(measurer, cache, SET, "loss_5pct", CONFIG) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.vectors, other.vectors)
    assert one.chosen.tolist() == [0, 3, 6, 9, 12]
    assert set(one.speakers) == {"made:f"}
    clean = embed_set(measurer, cache, SET, "clean", CONFIG)
    assert clean is not None
    assert len(clean.truth) == 14
    assert embed_set(measurer, cache, EvaluationSet("y", "nowhere", "test", "", ()), "clean", CONFIG) is None


def test_threads_change_nothing(measurer: Measurer, cache: AudioCache) -> None:
    """A clip's noise is drawn from its number, so it doesn't matter who comes first."""
    single = EvaluateConfig(threads=1, limit=5, baselines=())
    many = EvaluateConfig(threads=4, limit=5, baselines=())
    one, other = (embed_set(measurer, cache, SET, "clean", config) for config in (single, many))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.vectors, other.vectors)


def test_damage_is_held_against_the_same_clips(measurer: Measurer, cache: AudioCache) -> None:
    """UAR and loss of every set and condition, and the mean over the sets; what is too short is left out."""
    clean = embed_clean(measurer, cache, CONFIG)
    rows = measure_grid(measurer, cache, clean, CONFIG, ("clean", "loss_10pct", "4s"))
    assert {(r["set"], r["condition"], r["metric"]) for r in rows} == {
        ("made7", "loss_10pct", UAR),
        ("made7", "loss_10pct", LOST),
        (ALL_SETS, "loss_10pct", LOST),
    }
    mine = next(r for r in rows if r["set"] == "made7" and r["metric"] == LOST)
    mean = next(r for r in rows if r["set"] == ALL_SETS)
    assert mean["value"] == mine["value"]
    assert mine["n"] == 5


def test_legs_are_held_against_none(measurer: Measurer, cache: AudioCache) -> None:
    """Three kinds of call, each with its UAR and what it loses against the same line without a leg."""
    clean = embed_clean(measurer, cache, CONFIG)
    rows = measure_legs(measurer, cache, clean, CONFIG)
    assert len(rows) == 3 * len(LegKind)
    alone = uar(confusions_of(clean["made7"], judge_cold(measurer, clean["made7"]), CONFIG)).value
    for kind in LegKind:
        value, lost, mean = (r["value"] for r in rows if r["condition"] == f"calls_{kind.value}")
        assert lost == mean == pytest.approx(alone - value)


def test_clean_figures_are_by_profile(measurer: Measurer, data: Embedded) -> None:
    """Cold and with a profile, UAR and macro-F1; the described one is with a profile of 50 or cold."""
    judged = judge_clean(measurer, {"x": data}, CONFIG)
    rows = measure_clean("int8", {"x": data}, judged, CONFIG)
    assert [(r["profile_n"], r["metric"]) for r in rows] == [
        (0, "UAR"),
        (0, "macro-F1"),
        (20, "UAR"),
        (20, "macro-F1"),
    ]
    assert described(judged)["x"][0] == 0
    assert described({0: judged[0], 50: judged[20]})["x"][0] == 50


def test_cost_is_of_every_part() -> None:
    """Tokenizer, encoder, head and all of it, in milliseconds, on one thread."""
    rows = measure_cost(BUNDLE, "fp32")
    assert [r["what"] for r in rows] == [
        "tokenizer, 4 s",
        "encoder fp32, 4 s",
        "head",
        "all parts, fp32, 4 s",
    ]
    assert rows[3]["value"] == pytest.approx(sum(r["value"] for r in rows[:3]))
    assert all(r["value"] > 0 and r["unit"] == "ms" and "one thread" in r["note"] for r in rows)


def test_a_set_is_described(data: Embedded) -> None:
    """Recalls with intervals and the confusions, over the categories that the set holds."""
    found = describe_set(data, perfect(data), CONFIG)
    assert list(found["recalls"]) == found["confusion"]["labels"]
    assert found["recalls"]["angry"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert np.array(found["confusion"]["matrix"]).tolist() == (12 * np.eye(7)).tolist()


def test_gaps_are_by_sex_and_language(data: Embedded) -> None:
    """Speakers of unknown sex are left out; a language's figure is over all sets that speak it."""
    gaps = measure_gaps({"x": data}, {"x": perfect(data)}, CONFIG)
    assert {name: g["speakers"] for name, g in gaps["sex"]["x"].items()} == {"female": 1, "male": 1}
    assert set(gaps["language"]["x"]) == {"de", "en"}
    assert gaps["language"][ALL_SETS]["en"]["n"] == 56
    assert gaps["language"][ALL_SETS]["en"]["value"] == 1.0


def test_recall_and_its_interval(data: Embedded) -> None:
    """All right: 1 with an interval of nothing; a category that is not held can't be said."""
    drawn = uar(confusions_of(data, perfect(data), CONFIG))
    assert (drawn.value, drawn.figure().low) == (1.0, 1.0)
    allowed = data.allowed & (np.arange(7) != 0)
    held = Embedded(data.vectors, data.truth, data.speakers, data.clips, allowed, data.chosen)
    assert uar(confusions_of(held, perfect(held), CONFIG)).value == pytest.approx(6 / 7)


def test_a_row_says_what_it_is_of(data: Embedded) -> None:
    """Clips and speakers of the set, with the figure."""
    found = row("int8", "made7", "clean", 20, UAR, uar(confusions_of(data, perfect(data), CONFIG)), data)
    assert (found["name"], found["set"], found["condition"], found["profile_n"]) == (
        "int8",
        "made7",
        "clean",
        20,
    )
    assert (found["n"], found["speakers"], found["value"]) == (84, 3, 1.0)


def test_speakers_are_left_out_one_by_one(data: Embedded) -> None:
    """On embeddings that hold the category, logistic regression learns it from the other speakers."""
    found = leave_one_speaker_out(replace(data, vectors=data.vectors[:, :7]), CONFIG)
    assert found["value"] == 1.0
    assert (found["n"], found["speakers"], found["name"]) == (84, 3, "embedding + LR")


def test_conditions_are_put_into_words() -> None:
    """From the line's own numbers."""
    words = condition_words()
    assert words["snr_10db_loss_5pct"] == "noise at 10 dB SNR and 5 % of packets lost"
    assert words["2s"] == "the middle 2 s of speech"
    assert words["clean"] == "level and µ-law only"


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
        result("int8", "a", 0.5, metric="macro-F1"),
        result("int8", "a", 0.7, profile_n=50),
        result("int8", "a", 0.8, profile_n=200),
        result("int8", "a", 0.1, condition="snr_10db"),
        result("fp32", "a", 0.9),
    ]
    assert headline(rows, "int8") == {"uar_a_profile_0": 0.6123, "uar_a_profile_50": 0.7}
