"""The masked autoencoder over audio alone, and over audio and video: a real forward and backward pass of both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.mae import MaskedAutoencoder, Synchrony, TokenBatch, hide
from tests.models import tiny


@pytest.fixture
def model() -> MaskedAutoencoder:
    """An untrained autoencoder, its mask and 'absent' vectors not zero."""
    torch.manual_seed(0)
    made = MaskedAutoencoder(tiny.MAE, tiny.TOKENIZER).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith(("_mask", "absent")):
                parameter.normal_()
    return made


def audio_batch(seed: int = 0) -> TokenBatch:
    """Two clips of 8 and 6 tokens, two of each hidden."""
    hidden = torch.zeros(2, 8, dtype=torch.bool)
    hidden[:, 2:4] = True
    return TokenBatch(tiny.tokens(2, 8, seed), torch.tensor([8, 6]), hidden)


def video_batch(seed: int = 0) -> TokenBatch:
    """The same clips' faces, 5 and 4 video frames of 3 tokens, one frame of each hidden."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.zeros(2, 5, dtype=torch.bool)
    hidden[:, 1] = True
    return TokenBatch(torch.randint(8, (2, 3, 5), generator=generator), torch.tensor([5, 4]), hidden)


def test_audio_alone(model: MaskedAutoencoder) -> None:
    """Without video there are audio logits of every token and nothing of video."""
    output = model(audio_batch())
    assert output.audio is not None
    assert output.audio_logits is not None
    assert output.audio_logits.shape == (2, 8, 2, 16)
    assert output.audio.embedding.shape == (2, 8)
    assert output.video_logits is None
    assert output.video_embedding is None


def test_video_alone(model: MaskedAutoencoder) -> None:
    """Without audio there are video logits, guessed with the help of a learned stand-in, and nothing of audio."""
    model.train()
    output = model(None, video_batch())
    assert output.audio is None
    assert output.audio_logits is None
    assert output.video_logits is not None
    assert output.video_logits.shape == (2, 5, 3, 8)
    output.video_logits.square().mean().backward()
    assert model.to_audio.absent.grad is not None
    assert float(model.to_audio.absent.grad.abs().sum()) > 0
    assert model.audio.embed.tables.weight.grad is None


def test_a_modality_may_be_kept_from_some_rows(model: MaskedAutoencoder) -> None:
    """A row whose face is not shown is guessed like audio alone; its own face is guessed all the same."""
    with torch.no_grad():
        alone, together = model(audio_batch()), model(audio_batch(), video_batch())
        kept = model(audio_batch(), replace(video_batch(), present=torch.tensor([True, False])))
    assert alone.audio_logits is not None
    assert together.audio_logits is not None
    assert kept.audio_logits is not None
    torch.testing.assert_close(kept.audio_logits[0], together.audio_logits[0])
    torch.testing.assert_close(kept.audio_logits[1, :6], alone.audio_logits[1, :6])
    assert torch.equal(kept.video_logits, together.video_logits)


def test_both_modalities(model: MaskedAutoencoder) -> None:
    """With video both halves guess tokens and both have an embedding of one width."""
    output = model(audio_batch(), video_batch())
    assert output.video_logits is not None
    assert output.video_embedding is not None
    assert output.audio is not None
    assert output.video_logits.shape == (2, 5, 3, 8)
    assert output.video_embedding.shape == output.audio.embedding.shape


def test_what_is_hidden_is_not_seen(model: MaskedAutoencoder) -> None:
    """Other tokens at hidden positions change no logits; at visible ones they do."""
    audio, video = audio_batch(), video_batch()
    assert audio.hidden is not None
    other = tiny.tokens(2, 8, seed=9)
    peeked = TokenBatch(torch.where(audio.hidden[:, None], other, audio.tokens), audio.length, audio.hidden)
    changed = TokenBatch(torch.where(audio.hidden[:, None], audio.tokens, other), audio.length, audio.hidden)
    with torch.no_grad():
        plain = model(audio, video).audio_logits
        assert torch.equal(model(peeked, video).audio_logits, plain)
        assert not torch.allclose(model(changed, video).audio_logits, plain)


def test_modalities_look_at_each_other(model: MaskedAutoencoder) -> None:
    """Another face changes what is guessed of the voice, and the other way round; the frames stay the voice's own."""
    with torch.no_grad():
        one, face = model(audio_batch(), video_batch()), model(audio_batch(), video_batch(seed=5))
        voice = model(audio_batch(seed=5), video_batch())
    assert not torch.allclose(one.audio_logits, face.audio_logits)
    assert one.video_logits is not None
    assert voice.video_logits is not None
    assert not torch.allclose(one.video_logits, voice.video_logits)
    assert torch.equal(one.audio.frames, face.audio.frames)


def test_an_absent_modality_has_a_learned_stand_in(model: MaskedAutoencoder) -> None:
    """Audio alone is fused with the 'absent' vector, and teaches it."""
    model.train()
    model(audio_batch()).audio_logits.square().mean().backward()
    assert model.to_video.absent.grad is not None
    assert float(model.to_video.absent.grad.abs().sum()) > 0
    assert model.video_embed.tables.weight.grad is None


def test_both_modalities_teach_all_weights(model: MaskedAutoencoder) -> None:
    """One backward pass over both reaches every parameter but the teacher's frame head and what compares courses."""
    model.train()
    output = model(audio_batch(), video_batch())
    assert output.video_logits is not None
    assert output.video_embedding is not None
    assert output.audio is not None
    joint, _ = model.pool_joined(output.views, audio_batch(), video_batch())
    terms = (output.audio_logits, output.video_logits, output.video_embedding, output.audio.embedding, joint)
    torch.stack([term.square().mean() for term in terms]).sum().backward()  # type: ignore[no-untyped-call]
    untouched = {name for name, p in model.named_parameters() if p.grad is None}
    untouched = {name for name in untouched if not name.startswith("synchrony.")}
    assert untouched == {"audio.frame_head.weight", "audio.frame_head.bias", "log_temperature"}


def test_courses_are_compared_moment_by_moment() -> None:
    """A course fits itself, not another or itself shifted; what stays the same and what is padding play no part."""
    torch.manual_seed(0)
    synchrony = Synchrony(6, 4)
    synchrony.video.load_state_dict(synchrony.audio.state_dict())
    valid = torch.ones(3, 12, dtype=torch.bool)
    valid[1, 9:] = False
    frames = torch.randn(3, 12, 6)
    with torch.no_grad():
        fits = synchrony(frames, frames, valid)
        torch.testing.assert_close(fits.diagonal(), torch.ones(3))
        assert float((fits - torch.eye(3)).abs().max()) < 0.8
        shifted = synchrony(frames, frames.roll(1, dims=1), torch.ones(3, 12, dtype=torch.bool))
        assert float(shifted.diagonal().max()) < 0.7
        padded = torch.where(valid[:, :, None], frames, torch.tensor(50.0))
        torch.testing.assert_close(synchrony(padded + 3, frames, valid), fits, rtol=1e-4, atol=1e-4)


def test_hiding_keeps_the_place() -> None:
    """Hidden positions get the mask vector, the others stay; no mask hides nothing."""
    x, mask = torch.arange(6.0).reshape(1, 3, 2), torch.tensor([9.0, 9.0])
    hidden = torch.tensor([[False, True, False]])
    assert hide(x, hidden, mask).tolist() == [[[0, 1], [9, 9], [4, 5]]]
    assert hide(x, None, mask) is x
