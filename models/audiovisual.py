"""Voice and face together: an encoder of each, attention from each to the other, and one embedding of both.

Any modality may be absent, from a whole batch (None) or from some of its rows (`present`): a learned token stands in
for it, and the embedding is pooled over what there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.config import MaeConfig, TokenizerConfig
from models.fusion import CrossModalFusion, JointPooling
from models.pooling import AttentivePooling
from models.student import AudioEncoder, Encoded, TokenEmbedding, lengths_to_valid
from models.transformer import Transformer

STILL, MOVING = 0.5, 4.0
"""Weights of what a face's embeddings have in common through a clip, and of what differs from it."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Tokens int64 [B, K, T] of one modality, lengths int64 [B] and which positions are hidden, bool [B, T].

    present: bool [B], False where the other modality and the joint embedding must do without this one; a length of 0
    says the same.
    """

    tokens: Tensor
    length: Tensor
    hidden: Tensor | None = None
    present: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """True where there is content, [B, T]."""
        return lengths_to_valid(self.length, self.tokens.shape[2])

    @property
    def shown(self) -> Tensor:
        """True where there is content that others may look at, [B, T]."""
        return self.valid if self.present is None else self.valid & self.present[:, None]


@dataclass(frozen=True, slots=True)
class Views:
    """What the encoders make of a batch; everything of an absent modality is None.

    audio: of the voice alone. video: frames [B, U, D] of the face alone, video_embedding [B, E].
    audio_joined, video_joined: the same frames after they have looked at the other modality.
    """

    audio: Encoded | None
    video: Tensor | None
    video_embedding: Tensor | None
    audio_joined: Tensor | None
    video_joined: Tensor | None


class AudiovisualEncoder(nn.Module):
    """Per-modality encoders → cross-attention → one embedding pooled over both sequences."""

    def __init__(self, config: MaeConfig, tokenizer: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        transformer, video = config.encoder.transformer, config.video
        self.audio = AudioEncoder(config.encoder, tokenizer)
        self.video_embed = TokenEmbedding(video.grid, video.codebook_size, transformer.dim)
        self.video_layers = Transformer(replace(transformer, layers=video.layers))
        self.video_pool = AttentivePooling(transformer.dim, config.encoder.embedding_dim)
        self.audio_mask = nn.Parameter(torch.zeros(transformer.dim))
        self.video_mask = nn.Parameter(torch.zeros(transformer.dim))
        self.to_video = CrossModalFusion(transformer, config.fusion_layers)
        self.to_audio = CrossModalFusion(transformer, config.fusion_layers)
        self.joint = JointPooling(transformer.dim, config.encoder.embedding_dim)

    @torch.no_grad()
    def start_video_from(self, codebook: Tensor) -> None:
        """Start the video embeddings from the codebook [N, C], each place of the grid seen through its own projection.

        Like codes then start alike, so that what is learned of one reaches those that it never shared a clip with.
        """
        places, (size, width) = self.config.video.grid, codebook.shape
        unit = (codebook - codebook.mean(dim=0)) / codebook.std(dim=0).clamp(min=1e-6)
        dim = self.config.encoder.transformer.dim
        for place in range(places):
            projection = torch.randn(width, dim) * (0.1 / width**0.5)
            self.video_embed.tables.weight[place * size : (place + 1) * size] = unit @ projection

    def look(self, audio: TokenBatch | None, video: TokenBatch | None) -> Views:
        """Encode each modality by itself, then let it look at the other.

        Raises:
            ValueError: both are absent.
        """
        heard = None if audio is None else self.hear(audio)
        seen = None if video is None else self.see(video)
        pooled = None
        if seen is not None and video is not None:
            pooled, _ = self.video_pool(seen, video.valid)
        return self.join(Views(heard, seen, pooled, None, None), audio, video)

    def hear(self, audio: TokenBatch) -> Encoded:
        """The voice alone."""
        embedded = hide(self.audio.embed(audio.tokens), audio.hidden, self.audio_mask)
        return self.audio.encode(embedded, never_empty(audio.valid))

    def see(self, video: TokenBatch) -> Tensor:
        """The face alone, frames [B, U, D].

        A picture is first of all somebody's face: what stays the same through a clip is weakened, what moves is
        strengthened, so that the first layers see the mouth on people that they never met.
        """
        embedded = self.video_embed(video.tokens)
        still = clip_mean(embedded, video.valid if video.hidden is None else video.valid & ~video.hidden)
        embedded = STILL * still + MOVING * (embedded - still)
        embedded = hide(embedded, video.hidden, self.video_mask)
        frames: Tensor = self.video_layers(embedded, never_empty(video.valid))
        return frames

    def join(self, views: Views, audio: TokenBatch | None, video: TokenBatch | None) -> Views:
        """The views of each modality alone → with those that looked at the other, as far as it is shown.

        Raises:
            ValueError: both are absent.
        """
        if views.audio is None and views.video is None:
            raise ValueError("expected audio, video or both, got neither")
        frames = None if views.audio is None else views.audio.frames
        audio_shown = None if audio is None else audio.shown
        video_shown = None if video is None else video.shown
        return replace(
            views,
            audio_joined=None if frames is None else self.to_video(frames, views.video, video_shown),
            video_joined=None if views.video is None else self.to_audio(views.video, frames, audio_shown),
        )

    def pool_joined(
        self, views: Views, audio: TokenBatch | None, video: TokenBatch | None
    ) -> tuple[Tensor, Tensor]:
        """One embedding of a clip from all that is shown: [B, E], and its weights over both sequences [B, T + U]."""
        return self.joint(  # type: ignore[no-any-return]
            (views.audio_joined, None if audio is None else audio.shown),
            (views.video_joined, None if video is None else video.shown),
        )

    def fused(self, audio: TokenBatch | None, video: TokenBatch | None) -> tuple[Tensor, Tensor]:
        """Tokens of either modality or both → embedding [B, E] and its weights over both sequences."""
        return self.pool_joined(self.look(audio, video), audio, video)


def hide(embedded: Tensor, hidden: Tensor | None, mask_vector: Tensor) -> Tensor:
    """Replace the hidden positions of [B, T, D] by the mask vector [D]."""
    if hidden is None:
        return embedded
    return torch.where(hidden[:, :, None], mask_vector.to(embedded.dtype), embedded)


def clip_mean(frames: Tensor, shown: Tensor) -> Tensor:
    """Mean of [B, T, D] over the moments where shown [B, T], [B, 1, D]; 0 where there are none."""
    weight = shown[:, :, None].to(frames.dtype)
    mean: Tensor = (frames * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp(min=1)
    return mean


def never_empty(valid: Tensor) -> Tensor:
    """Valid [B, T], with rows that hold nothing marked full: attention over nothing is not a number."""
    return valid | ~valid.any(dim=1, keepdim=True)
