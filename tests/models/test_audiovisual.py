"""Voice and face joined: either may be absent, from a batch or from a row, and the embedding is of what there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.audiovisual import AudiovisualEncoder, TokenBatch, clip_mean, never_empty
from models.fusion import JointPooling
from models.mae import MaskedAutoencoder
from tests.models import tiny


@pytest.fixture
def model() -> AudiovisualEncoder:
    """Untrained, its learned vectors not zero."""
    torch.manual_seed(0)
    made = AudiovisualEncoder(tiny.MAE, tiny.TOKENIZER).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith(("_mask", "absent")):
                parameter.normal_()
    return made


def voice(rows: int = 3, seed: int = 0) -> TokenBatch:
    """Clips of 8, 6 and 5 tokens."""
    return TokenBatch(tiny.tokens(rows, 8, seed), torch.tensor([8, 6, 5])[:rows])


def face(rows: int = 3, seed: int = 0) -> TokenBatch:
    """Their faces, one picture for each token."""
    generator = torch.Generator().manual_seed(seed)
    return TokenBatch(torch.randint(8, (rows, 3, 8), generator=generator), torch.tensor([8, 6, 5])[:rows])


@torch.no_grad()
def test_either_modality_may_be_absent(model: AudiovisualEncoder) -> None:
    """Three different embeddings of one width; the weights cover what there is and sum to 1."""
    both, weights = model.fused(voice(), face())
    heard, heard_weights = model.fused(voice(), None)
    seen, seen_weights = model.fused(None, face())
    assert both.shape == heard.shape == seen.shape == (3, 8)
    assert weights.shape == (3, 16)
    assert heard_weights.shape == seen_weights.shape == (3, 8)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert not torch.allclose(both, heard)
    assert not torch.allclose(both, seen)
    with pytest.raises(ValueError, match="got neither"):
        model.fused(None, None)


@torch.no_grad()
def test_a_row_without_a_face_is_a_clip_of_sound(model: AudiovisualEncoder) -> None:
    """Whether by a length of 0, by `present`, or by leaving the modality out: the embedding is the same."""
    alone, _ = model.fused(voice(), None)
    whole, _ = model.fused(voice(), face())
    no_face = replace(face(), length=torch.tensor([8, 0, 5]))
    kept_away = replace(face(), present=torch.tensor([True, False, True]))
    for batch in (no_face, kept_away):
        mixed, _ = model.fused(voice(), batch)
        torch.testing.assert_close(mixed[1], alone[1])
        torch.testing.assert_close(mixed[[0, 2]], whole[[0, 2]])


@torch.no_grad()
def test_a_row_without_a_voice_is_a_silent_face(model: AudiovisualEncoder) -> None:
    """The other way round."""
    alone, _ = model.fused(None, face())
    mixed, _ = model.fused(replace(voice(), length=torch.tensor([0, 6, 5])), face())
    assert bool(torch.isfinite(mixed).all())
    torch.testing.assert_close(mixed[0], alone[0])


@torch.no_grad()
def test_padding_and_other_rows_change_nothing(model: AudiovisualEncoder) -> None:
    """A clip alone, cut to its own length, is embedded as in a padded batch."""
    together, _ = model.fused(voice(), face())
    for row, length in enumerate([8, 6, 5]):
        cut = [
            TokenBatch(batch.tokens[row : row + 1, :, :length], torch.tensor([length]))
            for batch in (voice(), face())
        ]
        alone, _ = model.fused(cut[0], cut[1])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fusion_knows_which_moment_is_which(model: AudiovisualEncoder) -> None:
    """The same faces in another order, seen by layers that are told no order themselves, change what is fused."""
    frames = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 8, dtype=torch.bool)
    plain = model.to_video(frames, frames, valid)
    assert not torch.allclose(model.to_video(frames, frames.flip(1), valid), plain, atol=1e-4)


@torch.no_grad()
def test_video_embeddings_start_from_the_codebook(model: AudiovisualEncoder) -> None:
    """Like codes start alike, at every place of the grid through a projection of its own."""
    codebook = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    codebook[1] = codebook[0] + 0.01
    model.start_video_from(codebook)
    tables = model.video_embed.tables.weight.reshape(3, 8, 16)
    near, far = (tables[:, 0] - tables[:, 1]).norm(dim=1), (tables[:, 0] - tables[:, 2]).norm(dim=1)
    assert bool((near < 0.1 * far).all())
    assert not torch.allclose(tables[0], tables[1])


def test_an_autoencoder_hands_its_encoder_over(model: AudiovisualEncoder) -> None:
    """The encoder's weights are those of the autoencoder, name by name; the rest are the decoders'."""
    mae = MaskedAutoencoder(tiny.MAE, tiny.TOKENIZER)
    kept = {name: value for name, value in mae.state_dict().items() if name in model.state_dict()}
    model.load_state_dict(kept)
    rest = {name.split(".")[0] for name in mae.state_dict() if name not in kept}
    assert rest == {"audio_decoder", "video_decoder", "synchrony", "log_temperature"}


def test_pooling_needs_something_to_pool() -> None:
    """No sequence at all is an error."""
    with pytest.raises(ValueError, match="got neither"):
        JointPooling(16, 8)((None, None), (None, None))


def test_empty_rows_are_marked_full() -> None:
    """Only they are."""
    valid = torch.tensor([[True, False], [False, False]])
    assert never_empty(valid).tolist() == [[True, False], [True, True]]


def test_a_clips_mean_is_of_what_is_shown() -> None:
    """Hidden and missing moments don't count; a clip that shows nothing has a mean of 0."""
    frames = torch.tensor([[[1.0], [3.0], [50.0]], [[4.0], [5.0], [6.0]]])
    shown = torch.tensor([[True, True, False], [False, False, False]])
    assert clip_mean(frames, shown).tolist() == [[[2.0]], [[0.0]]]


@torch.no_grad()
def test_hidden_pictures_leave_no_trace(model: AudiovisualEncoder) -> None:
    """Other tokens at hidden places change nothing that is made of a face, its mean included."""
    hidden = torch.zeros(3, 8, dtype=torch.bool)
    hidden[:, 2:4] = True
    plain, other = face(), face(seed=9)
    peeked = torch.where(hidden[:, None], other.tokens, plain.tokens)
    seen = [model.see(TokenBatch(tokens, plain.length, hidden)) for tokens in (plain.tokens, peeked)]
    assert torch.equal(seen[0], seen[1])
