"""Line profiles and leg contexts: Welford, shrinkage, files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.inference.line_profile import (
    STD_FLOOR,
    LegContext,
    LineProfile,
    ProfileError,
    shrink,
)
from app.inference.profile_book import ProfileBook

Floats = npt.NDArray[np.float64]

DIM = 3
embeddings = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 30), st.just(DIM)), elements=st.floats(-1e3, 1e3, width=32)
)
POPULATION_MEAN = np.array([1.0, -2.0, 0.5])
POPULATION_VAR = np.array([0.5, 2.0, 1.0])


def _updated(values: Floats, start: LineProfile | None = None) -> LineProfile:
    profile = LineProfile.empty(DIM) if start is None else start
    for value in values:
        profile = profile.update(value)
    return profile


def _assert_same(a: LineProfile, b: LineProfile) -> None:
    assert a.n == b.n
    assert a.mean == pytest.approx(b.mean, rel=1e-9, abs=1e-6)
    assert a.var == pytest.approx(b.var, rel=1e-9, abs=1e-6)


@given(values=embeddings)
@settings(deadline=None)
def test_one_at_a_time_equals_all_at_once(values: Floats) -> None:
    """Welford's running statistics are numpy's mean and variance."""
    profile = _updated(values)
    _assert_same(profile, LineProfile.from_embeddings(values))
    if len(values):
        assert profile.mean == pytest.approx(values.mean(axis=0), rel=1e-9, abs=1e-6)
        assert profile.var == pytest.approx(values.var(axis=0), rel=1e-9, abs=1e-6)


@given(values=embeddings, data=st.data())
@settings(deadline=None)
def test_any_split_merges_to_the_whole(values: Floats, data: st.DataObject) -> None:
    """However the utterances are split over profiles, merging gives the whole."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    merged = LineProfile.empty(DIM)
    for part in np.split(values, cuts):
        merged = merged.merge(_updated(part))
    _assert_same(merged, LineProfile.from_embeddings(values))


def test_a_far_away_mean_keeps_its_variance() -> None:
    """A large common offset does not eat the variance, as a sum of squares would."""
    values = np.array([[1e9 + 1.0], [1e9 + 2.0], [1e9 + 3.0]])
    profile = LineProfile.empty(1)
    for value in values:
        profile = profile.update(value)
    assert profile.var == pytest.approx([2.0 / 3.0])


@given(prior_n=st.floats(0, 1e6))
@settings(deadline=None)
def test_an_empty_line_is_the_population_exactly(prior_n: float) -> None:
    """With nothing heard the head sees the population to the bit."""
    mean, std = LineProfile.empty(DIM).shrunk(POPULATION_MEAN, POPULATION_VAR, prior_n)
    assert np.array_equal(mean, POPULATION_MEAN.astype(np.float32))
    assert np.array_equal(std, np.sqrt(POPULATION_VAR).astype(np.float32))


def test_a_line_heard_for_ever_is_itself() -> None:
    """As n grows the population stops counting."""
    mean, var = np.array([5.0, 6.0, 7.0]), np.array([4.0, 9.0, 16.0])
    got = shrink(10**12, mean, var, POPULATION_MEAN, POPULATION_VAR, 20.0)
    assert got[0] == pytest.approx(mean, rel=1e-6)
    assert got[1] == pytest.approx([2.0, 3.0, 4.0], rel=1e-6)


def test_half_way_at_n_equal_to_the_prior() -> None:
    """At n = prior_n both means and both variances are averaged (hand-computed)."""
    mean, std = shrink(20, [3.0], [9.0], [1.0], [1.0], 20.0)
    assert mean == pytest.approx([2.0])
    assert std == pytest.approx([5.0**0.5])
    assert {str(mean.dtype), str(std.dtype)} == {"float32"}


@given(n=st.integers(0, 1000), more=st.integers(0, 1000), prior_n=st.floats(0.1, 100))
@settings(deadline=None)
def test_more_utterances_bring_it_closer_to_the_line(n: int, more: int, prior_n: float) -> None:
    """The shrunk mean moves from the population to the line and never past it or back."""
    near, far = (shrink(k, [10.0], [1.0], [0.0], [1.0], prior_n)[0][0] for k in (n, n + more))
    assert 0.0 <= near <= far <= 10.0


def test_many_lines_shrink_at_once_as_one_by_one() -> None:
    """A column of counts shrinks a batch of lines as single calls would."""
    rng = np.random.default_rng(0)
    counts, means, variances = np.array([[0], [3], [50]]), rng.normal(size=(3, 3)), rng.uniform(size=(3, 3))
    together = shrink(counts, means, variances, POPULATION_MEAN, POPULATION_VAR, 10.0)
    for row in range(3):
        alone = shrink(counts[row, 0], means[row], variances[row], POPULATION_MEAN, POPULATION_VAR, 10.0)
        assert np.array_equal(together[0][row], alone[0])
        assert np.array_equal(together[1][row], alone[1])


def test_a_constant_dimension_does_not_explode() -> None:
    """However still the line, its standard deviation keeps a share of the population's."""
    _, std = shrink(10**12, [1.0], [0.0], [0.0], [4.0], 1.0)
    assert std == pytest.approx([STD_FLOOR * 2.0], rel=1e-3)


def test_the_distance_between_means_is_no_spread() -> None:
    """A far line is not thought a wide one."""
    _, std = shrink(20, [100.0], [1.0], [0.0], [1.0], 20.0)
    assert std == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("n", "prior_n", "var", "message"),
    [(-1, 1.0, 1.0, "n >= 0"), (1, -1.0, 1.0, "prior_n >= 0"), (1, 1.0, 0.0, "positive population variance")],
)
def test_impossible_statistics_are_refused(n: int, prior_n: float, var: float, message: str) -> None:
    """Negative counts and a population without spread are refused."""
    with pytest.raises(ProfileError, match=message):
        shrink(n, [0.0], [1.0], [0.0], [var], prior_n)


def test_updating_leaves_the_old_profile_alone() -> None:
    """A profile never changes: a snapshot in another thread stays what it was."""
    before = LineProfile.empty(DIM, "a")
    after = before.update([1.0, 2.0, 3.0])
    assert (before.n, after.n, after.id) == (0, 1, "a")
    assert not np.any(before.mean)


def test_a_frozen_profile_does_not_learn() -> None:
    """Freezing stops the count too."""
    frozen = LineProfile(5, np.ones(DIM), np.ones(DIM), frozen=True)
    assert frozen.update(np.zeros(DIM)) is frozen


@pytest.mark.parametrize(
    "bad", [[1.0], [[1.0, 2.0, 3.0]], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0], "abc", None]
)
def test_an_embedding_that_is_wrong_is_refused(bad: Any) -> None:
    """An embedding of another width, or not of finite numbers, never enters a profile or a context."""
    with pytest.raises(ProfileError, match="embedding: expected"):
        LineProfile.empty(DIM).update(bad)
    with pytest.raises(ProfileError, match="embedding: expected"):
        LegContext.empty(DIM).update(bad)


def test_profiles_of_other_widths_do_not_mix() -> None:
    """Merging, batches of another rank and books refuse what does not fit."""
    with pytest.raises(ProfileError, match="expected a profile 3 wide, got 2"):
        LineProfile.empty(DIM).merge(LineProfile.empty(2))
    with pytest.raises(ProfileError, match=r"expected embeddings \[N, D\]"):
        LineProfile.from_embeddings([1.0, 2.0])
    with pytest.raises(ProfileError, match="expected a profile 3 wide, got 2"):
        ProfileBook(DIM).put("a", LineProfile.empty(2))


def test_drift_is_distance_in_population_deviations() -> None:
    """Two deviations away in every dimension is a drift of 2; an empty line has none."""
    away = POPULATION_MEAN + 2.0 * np.sqrt(POPULATION_VAR)
    assert LineProfile.empty(DIM).update(away).drift(POPULATION_MEAN, POPULATION_VAR) == pytest.approx(2.0)
    assert LineProfile.empty(DIM).drift(POPULATION_MEAN, POPULATION_VAR) == 0.0


@given(values=embeddings, frozen=st.booleans())
@settings(deadline=None)
def test_a_profile_survives_a_file_exactly(values: Floats, frozen: bool) -> None:
    """Through JSON text and back, every number is the same to the bit."""
    profile = _updated(values)
    profile = LineProfile(profile.n, profile.mean, profile.m2, "trunk-7", frozen)
    text = json.dumps(profile.to_json("tiny/0.0.1"))
    again = LineProfile.from_json(json.loads(text), dim=DIM, model="tiny/0.0.1")
    assert (again.n, again.id, again.frozen) == (profile.n, "trunk-7", frozen)
    assert np.array_equal(again.mean, profile.mean)
    assert np.array_equal(again.m2, profile.m2)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"format": "x"}, "format: expected 'kowairo-line-profile', got 'x'"),
        ({"schema_version": 2}, "schema_version: expected 1, got 2"),
        ({"model": "other/1"}, "model: expected 'tiny/0.0.1', got 'other/1'"),
        ({"n": -1}, "n: expected a whole number >= 0, got -1"),
        ({"n": True}, "n: expected a whole number"),
        ({"n": 1.5}, "n: expected a whole number"),
        ({"id": 7}, "text id"),
        ({"frozen": "no"}, "true/false frozen"),
        ({"mean": [1.0]}, r"mean: expected 3 numbers, got shape \(1,\)"),
        ({"mean": None}, "mean: expected"),
        ({"mean": ["a", "b", "c"]}, "mean: expected 3 numbers"),
        ({"m2": [1.0, float("nan"), 1.0]}, "m2: expected finite numbers"),
        ({"m2": [1.0, -1.0, 1.0]}, "m2: expected sums of squares >= 0"),
        ({"n": 0}, "zeros everywhere where n is 0"),
    ],
)
def test_a_profile_file_that_is_wrong_is_refused(update: dict[str, Any], message: str) -> None:
    """Each wrong field of a profile file is refused by name."""
    document = _updated(np.eye(3)).to_json("tiny/0.0.1") | update
    with pytest.raises(ProfileError, match=message):
        LineProfile.from_json(document, dim=DIM, model="tiny/0.0.1")


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_object_is_refused(document: object) -> None:
    """A profile file must hold an object."""
    with pytest.raises(ProfileError, match="expected a JSON object"):
        LineProfile.from_json(document, dim=DIM)


def test_a_profile_that_names_no_model_is_taken() -> None:
    """A file without an origin is judged by its width alone."""
    assert LineProfile.from_json(_updated(np.eye(3)).to_json(), dim=DIM, model="tiny/0.0.1").n == 3


@given(values=embeddings)
@settings(deadline=None)
def test_a_leg_context_is_the_plain_mean(values: Floats) -> None:
    """The leg context is the mean and count of what it was given."""
    context = LegContext.empty(DIM)
    for value in values:
        context = context.update(value)
    assert context.n == len(values)
    expected = values.mean(axis=0) if len(values) else np.zeros(DIM)
    assert context.mean == pytest.approx(expected, rel=1e-9, abs=1e-6)
