"""The encoder that ships: tokens to an embedding, started from the codebooks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.student import AudioEncoder, TokenEmbedding, lengths_to_valid
from tests.models import tiny


@pytest.fixture
def encoder() -> AudioEncoder:
    """An untrained encoder."""
    torch.manual_seed(0)
    return AudioEncoder(tiny.ENCODER, tiny.TOKENIZER).eval()


def test_embeddings_start_as_the_codes_themselves() -> None:
    """The sum over codebooks of a token's embedding is the projection of its quantised vector."""
    torch.manual_seed(0)
    embed = TokenEmbedding(2, 16, 10)
    codebooks, projection, tokens = torch.randn(2, 16, 6), torch.randn(10, 6), tiny.tokens(3, 5)
    embed.start_from(codebooks, projection)
    vectors = codebooks[0][tokens[:, 0]] + codebooks[1][tokens[:, 1]]
    torch.testing.assert_close(embed(tokens), vectors @ projection.t(), rtol=1e-4, atol=1e-5)


def test_codebooks_have_embeddings_of_their_own() -> None:
    """Token 3 of the first codebook is not token 3 of the second."""
    torch.manual_seed(0)
    embed = TokenEmbedding(2, 16, 10)
    assert not torch.allclose(embed(torch.tensor([[[3], [4]]])), embed(torch.tensor([[[4], [3]]])))


def test_length_says_what_counts(encoder: AudioEncoder) -> None:
    """Tokens beyond the length change neither embedding nor salience."""
    tokens = tiny.tokens(2, 9)
    other = tokens.clone()
    other[0, :, 5:] = 0
    length = torch.tensor([5, 9])
    with torch.no_grad():
        embedding, salience = encoder(tokens, length)
        again, _ = encoder(other, length)
        alone, _ = encoder(tokens[:1, :, :5], length[:1])
    assert torch.equal(embedding, again)
    torch.testing.assert_close(embedding[:1], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(salience.sum(dim=1), torch.ones(2))
    assert bool((salience[0, 5:] == 0).all())


def test_frames_are_predicted_where_there_is_a_teacher(encoder: AudioEncoder) -> None:
    """An encoder built without a teacher says so."""
    frames = torch.randn(2, 4, 16)
    assert encoder.predict_frames(frames).shape == (2, 4, 5)
    without = AudioEncoder(replace(tiny.ENCODER, teacher_dim=0), tiny.TOKENIZER)
    with pytest.raises(ValueError, match="teacher_dim = 0"):
        without.predict_frames(frames)


def test_lengths_as_a_mask() -> None:
    """True below the length."""
    assert lengths_to_valid(torch.tensor([0, 2]), 3).tolist() == [[False] * 3, [True, True, False]]
