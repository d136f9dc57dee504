"""The tokenizer hears the past only, and a stream in pieces as it hears the whole."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.audio_tokenizer import AudioTokenizer
from models.config import TokenizerConfig
from tests.models import tiny

VARIANTS: dict[str, TokenizerConfig] = {
    "rvq": tiny.TOKENIZER,
    "one codebook": replace(tiny.TOKENIZER, codebooks=1, gradient="rotation"),
    "fsq": replace(tiny.TOKENIZER, quantizer="fsq", levels=(4, 2, 2), codebook_size=16),
}


@pytest.fixture(scope="module", params=list(VARIANTS))
def model(request: pytest.FixtureRequest) -> AudioTokenizer:
    """An untrained tokenizer with each quantiser; not to be trained here."""
    torch.manual_seed(0)
    return AudioTokenizer(VARIANTS[request.param]).eval()


@given(cuts=st.lists(st.integers(1, 6), min_size=1, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_pieces_equal_the_whole(model: AudioTokenizer, cuts: list[int], seed: int) -> None:
    """However audio is cut (in multiples of the hop), tokens and the last state are those of the whole."""
    audio = tiny.noise(sum(cuts), seed)
    with torch.no_grad():
        whole, end = model(audio, model.initial_state(1))
        state, pieces = model.initial_state(1), []
        for piece in torch.split(audio, [cut * tiny.TOKENIZER.hop_samples for cut in cuts], dim=1):
            tokens, state = model(piece, state)
            pieces.append(tokens)
    assert torch.equal(torch.cat(pieces, dim=2), whole)
    torch.testing.assert_close(state, end, rtol=1e-4, atol=1e-4)


@given(kept=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_future_never_changes_the_past(model: AudioTokenizer, kept: int, seed: int) -> None:
    """Whatever comes after a token's last sample, what is quantised there is bit for bit the same."""
    audio, other = tiny.noise(10, seed), 4 * tiny.noise(10, seed + 1000)
    place = kept * tiny.TOKENIZER.hop_samples
    changed = torch.cat([audio[:, :place], other[:, place:]], dim=1)
    with torch.no_grad():
        before, _, _ = model.encode(audio, model.initial_state(1))
        after, _, _ = model.encode(changed, model.initial_state(1))
    assert torch.equal(before[:, :, :kept], after[:, :, :kept])
    assert not torch.allclose(before[:, :, kept:], after[:, :, kept:])


@pytest.mark.parametrize("hops", [1, 2, 40])
def test_the_state_has_a_fixed_size(model: AudioTokenizer, hops: int) -> None:
    """A stream remembers as many numbers after 40 hops as before the first."""
    with torch.no_grad():
        tokens, state = model(tiny.noise(hops, rows=3), model.initial_state(3))
    assert state.shape == (3, model.state_size)
    assert tokens.shape == (3, model.config.codebooks, hops)
    assert tokens.dtype == torch.int64
    assert int(tokens.max()) < tiny.TOKENIZER.codebook_size


def test_rows_of_a_batch_do_not_meet(model: AudioTokenizer) -> None:
    """A clip has the same tokens alone and among others."""
    audio = tiny.noise(12, rows=4)
    with torch.no_grad():
        together, _ = model(audio, model.initial_state(4))
        alone, _ = model(audio[2:3], model.initial_state(1))
    assert torch.equal(together[2:3], alone)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_rebuilding_teaches_every_served_weight(variant: str) -> None:
    """The gradient of the reconstruction passes the quantiser and reaches all of the tokenizer."""
    torch.manual_seed(0)
    model = AudioTokenizer(VARIANTS[variant]).train()
    keep = torch.ones(2, 6, dtype=torch.bool)
    rebuilt = model.decoder(model.quantize(tiny.noise(6, rows=2), keep).vectors)
    assert rebuilt.shape == (2, tiny.TOKENIZER.frontend.mels, 6 * tiny.TOKENIZER.stride)
    rebuilt.square().mean().backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert untouched == []


def test_the_graph_can_be_exported(model: AudioTokenizer) -> None:
    """Whatever the quantiser, onnxruntime gives torch's tokens for other lengths and batches than were traced."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated upstream
        torch.onnx.export(
            model,
            (tiny.noise(2), model.initial_state(1)),
            buffer,
            input_names=["audio", "state"],
            output_names=["tokens", "state_out"],
            dynamic_axes={"audio": {0: "b", 1: "n"}, "state": {0: "b"}, "tokens": {0: "b", 2: "t"}},
            opset_version=17,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    audio, state = tiny.noise(7, seed=3, rows=2), model.initial_state(2)
    got = session.run(None, {"audio": audio.numpy(), "state": state.numpy()})
    with torch.no_grad():
        tokens, after = model(audio, state)
    assert torch.equal(torch.from_numpy(got[0]), tokens)
    torch.testing.assert_close(torch.from_numpy(got[1]), after, rtol=1e-4, atol=1e-4)
