"""The tokenizer: however audio is cut, the tokens are the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bundle.golden import tokenize_whole
from app.bundle.loader import LoadedBundle
from app.domain import FloatArray
from app.inference.errors import InferenceError
from app.inference.tokenizer import Tokenizer
from tests.inference.fakes import FakeSession
from tests.support.tiny_bundle import speech_like


def _speech(seed: int, seconds: float) -> FloatArray:
    return speech_like(seed, seconds).astype(np.float32) / np.float32(32768.0)


@pytest.fixture(scope="module")
def tokenizer(bundle: LoadedBundle) -> Tokenizer:
    """The tiny bundle's tokenizer."""
    return Tokenizer(bundle.tokenizer, bundle.manifest.tokenizer)


@given(seed=st.integers(0, 50), samples=st.integers(0, 12000), data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_chunking_equals_the_whole(
    bundle: LoadedBundle, seed: int, samples: int, data: st.DataObject
) -> None:
    """However a clip is cut, and whenever tokens are asked for, they equal the whole clip's exactly."""
    tokenizer = Tokenizer(bundle.tokenizer, bundle.manifest.tokenizer)
    audio = _speech(seed, 1.5)[:samples]
    whole = tokenizer.tokenize(audio)
    stream = tokenizer.stream()
    for piece in np.split(audio, sorted(data.draw(st.lists(st.integers(0, samples), max_size=12)))):
        stream.push(piece)
        if data.draw(st.booleans()):
            so_far = stream.tokens()
            assert np.array_equal(so_far, whole[:, : so_far.shape[1]])
    assert np.array_equal(stream.tokens(), whole)
    assert whole.shape == (4, len(audio) // 320)
    assert whole.dtype == np.int64


def test_sample_by_sample_equals_the_whole(tokenizer: Tokenizer) -> None:
    """Even one sample at a time."""
    audio = _speech(1, 0.7)
    stream = tokenizer.stream()
    for sample in audio:
        stream.push(np.array([sample], dtype=np.float32))
    assert np.array_equal(stream.tokens(), tokenizer.tokenize(audio))


def test_the_server_tokenises_as_the_golden_pairs_were_made(
    bundle: LoadedBundle, tokenizer: Tokenizer
) -> None:
    """The stream and the exporter's loop are one and the same function of the audio."""
    audio = _speech(2, 2.03)
    golden = tokenize_whole(bundle.tokenizer, bundle.manifest.tokenizer, audio)
    assert np.array_equal(tokenizer.tokenize(audio), golden)


def test_the_state_is_carried_from_block_to_block(tokenizer: Tokenizer) -> None:
    """The tokens of a block depend on what came before it, so the property above is not empty."""
    audio = _speech(3, 0.32 * 3)
    whole = tokenizer.tokenize(audio)
    assert not np.array_equal(whole[:, 8:], tokenizer.tokenize(audio[2560:]))


def test_the_past_does_not_change(tokenizer: Tokenizer) -> None:
    """Tokens of the first n samples are the same whatever follows (whole blocks of it)."""
    audio = _speech(4, 2.0)
    stream = tokenizer.stream()
    stream.push(audio)
    assert np.array_equal(stream.tokens(5120), tokenizer.tokenize(audio[:5120]))
    assert stream.tokens(5119).shape == (4, 15)
    assert stream.tokens(0).shape == (4, 0)


def test_reset_starts_anew(tokenizer: Tokenizer) -> None:
    """After a reset nothing of the last utterance is left, half-filled block included."""
    stream = tokenizer.stream()
    stream.push(_speech(5, 1.234))
    stream.reset()
    assert stream.pushed_samples == 0
    audio = _speech(6, 0.5)
    stream.push(audio)
    assert stream.pushed_samples == len(audio)
    assert np.array_equal(stream.tokens(), tokenizer.tokenize(audio))


def test_streams_share_the_graph_but_no_state(tokenizer: Tokenizer) -> None:
    """Many streams in many threads each give their own clip's tokens."""
    clips = [_speech(seed, 1.0) for seed in range(24)]
    alone = [tokenizer.tokenize(clip) for clip in clips]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(tokenizer.tokenize, clips))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_audio_that_is_not_finite_never_reaches_the_state(tokenizer: Tokenizer, bad: float) -> None:
    """A NaN is refused as it arrives, and the stream goes on as if it had not come."""
    audio = _speech(7, 0.5)
    stream = tokenizer.stream()
    stream.push(audio)
    with pytest.raises(InferenceError, match="audio: expected finite"):
        stream.push(np.array([0.0, bad], dtype=np.float32))
    assert np.array_equal(stream.tokens(), tokenizer.tokenize(audio))


def test_arguments_are_checked(tokenizer: Tokenizer) -> None:
    """Audio of another rank, and tokens of audio not heard, are refused."""
    stream = tokenizer.stream()
    with pytest.raises(ValueError, match=r"expected samples \[n\]"):
        stream.push(np.zeros((1, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="expected 0 to 0 samples, got 1"):
        stream.tokens(1)
    with pytest.raises(ValueError, match="got -1"):
        stream.tokens(-1)


def test_the_graph_sees_only_whole_blocks_from_a_zero_state(bundle: LoadedBundle) -> None:
    """Every run is one block of one stream, the first from zeros, the last padded with silence."""
    spec = bundle.manifest.tokenizer
    session = FakeSession(
        lambda feeds: {
            "tokens": np.zeros((1, 4, 8), dtype=np.int64),
            "state_out": feeds["state"] + np.float32(1.0),
        }
    )
    stream = Tokenizer(session, spec).stream()
    stream.push(np.ones(2560 + 700, dtype=np.float32))
    stream.tokens()
    stream.tokens()
    assert [feeds["audio"].shape for feeds in session.feeds] == [(1, 2560)] * 3
    assert [float(feeds["state"][0, 0]) for feeds in session.feeds] == [0.0, 1.0, 1.0]
    assert session.feeds[1]["audio"].sum() == 700
