"""The encoder: exact lengths, padding below the minimum, windows above the maximum."""

from __future__ import annotations

import numpy as np
import pytest

from app.bundle.loader import LoadedBundle
from app.domain import TokenArray
from app.inference.encoder import Encoder, join
from app.inference.errors import InferenceError
from app.ort import OrtError
from tests.inference.fakes import ENCODER_SPEC, FakeSession, refuse_sevens, token_sums


def _tokens(length: int, seed: int = 0) -> TokenArray:
    return np.random.default_rng(seed).integers(0, 7, (4, length))


def test_an_utterance_runs_alone_at_its_own_length() -> None:
    """One utterance is a batch of one, not padded."""
    session = FakeSession(token_sums)
    tokens = _tokens(37)
    embedding, salience = Encoder(session, ENCODER_SPEC).encode(tokens)
    assert session.feeds[0]["tokens"].shape == (1, 4, 37)
    assert embedding.tolist() == [tokens.sum(), 37.0]
    assert salience.shape == (37,)


def test_below_the_minimum_it_is_padded_and_masked() -> None:
    """Too few tokens are padded for the graph and masked by their true length."""
    session = FakeSession(token_sums)
    tokens = _tokens(2)
    embedding, salience = Encoder(session, ENCODER_SPEC).encode(tokens)
    assert session.feeds[0]["tokens"].shape == (1, 4, 4)
    assert session.feeds[0]["length"].tolist() == [2]
    assert embedding.tolist() == [tokens.sum(), 2.0]
    assert salience.shape == (2,)


def test_the_real_graph_masks_what_is_padded(bundle: LoadedBundle) -> None:
    """Padding to any width gives the result of the exact length."""
    encoder = Encoder(bundle.encoder, bundle.manifest.encoder)
    tokens = _tokens(20)
    exact, padded = encoder.run([tokens], 20)[0], encoder.run([tokens], 64)[0]
    assert padded[0] == pytest.approx(exact[0], abs=1e-6)
    assert padded[1] == pytest.approx(exact[1], abs=1e-6)
    assert exact[1].sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("length", "widths"), [(100, [100]), (101, [51, 50]), (250, [84, 83, 83]), (1, [1])])
def test_above_the_maximum_it_is_cut_evenly(length: int, widths: list[int]) -> None:
    """Windows are as few and as even as the maximum allows, and lose nothing."""
    tokens = _tokens(length)
    windows = Encoder(FakeSession(token_sums), ENCODER_SPEC).windows(tokens)
    assert [window.shape[1] for window in windows] == widths
    assert np.array_equal(np.concatenate(windows, axis=1), tokens)


def test_windows_are_averaged_by_length() -> None:
    """Windows' embeddings are averaged, weighted by length, and salience still sums to 1."""
    tokens = _tokens(101)
    embedding, salience = Encoder(FakeSession(token_sums), ENCODER_SPEC).encode(tokens)
    sums = np.array([tokens[:, :51].sum(), tokens[:, 51:].sum()])
    assert embedding == pytest.approx([(51 * sums[0] + 50 * sums[1]) / 101, (51 * 51 + 50 * 50) / 101])
    assert salience.shape == (101,)
    assert salience.sum() == pytest.approx(1.0, abs=1e-6)
    assert {str(embedding.dtype), str(salience.dtype)} == {"float32"}


def test_one_window_is_passed_through() -> None:
    """A single window is not touched by rounding."""
    part = (np.array([0.1], dtype=np.float32), np.array([1.0], dtype=np.float32))
    assert join([part]) is part


def test_no_tokens_are_refused() -> None:
    """There is no embedding of nothing."""
    with pytest.raises(InferenceError, match="at least 1 token, got 0"):
        Encoder(FakeSession(token_sums), ENCODER_SPEC).encode(_tokens(0))


@pytest.mark.parametrize("output", ["embedding", "salience"])
def test_numbers_that_are_not_finite_are_refused(output: str) -> None:
    """A graph that gives NaN yields an error, not an embedding."""
    session = FakeSession(lambda feeds: token_sums(feeds) | {output: token_sums(feeds)[output] * np.nan})
    with pytest.raises(InferenceError, match=f"{output}: expected finite"):
        Encoder(session, ENCODER_SPEC).encode(_tokens(8))


def test_a_failed_run_is_told() -> None:
    """A graph that fails is told as the encoder's failure."""
    with pytest.raises(InferenceError, match="encoder: graph run failed: a seven") as caught:
        Encoder(FakeSession(refuse_sevens), ENCODER_SPEC).encode(np.full((4, 8), 7))
    assert isinstance(caught.value.__cause__, OrtError)
