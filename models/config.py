"""Sizes of every network, as plain frozen values: saved beside each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    """Causal log-mel analysis of 8 kHz audio, relative to the running level of the utterance."""

    sample_rate_hz: int = 8_000
    window_samples: int = 256
    hop_samples: int = 80
    mels: int = 64
    low_hz: float = 60.0
    high_hz: float = 3_900.0
    floor: float = 1e-4
    """Power below the running level that still counts (1e-4: 40 dB), so codec and line noise do not."""
    prior_frames: float = 10.0
    """Weight of the assumed level at the start of an utterance, in frames."""
    prior_power: float = 3e-4
    """Assumed mean sample power at the start (about -35 dBFS)."""


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """Causal convolutional VQ-VAE: 100 frames/s in, 25 tokens/s out."""

    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    stem_channels: int = 192
    channels: int = 256
    dilations: tuple[int, ...] = (1, 2, 4)
    codebooks: int = 8
    codebook_size: int = 256
    code_dim: int = 64
    decoder_layers: int = 2
    ema_decay: float = 0.98
    dead_below: float = 0.2
    """A code whose running count falls below this share of the mean is re-seeded from the batch."""

    @property
    def stride(self) -> int:
        """Analysis frames per token."""
        return 4

    @property
    def hop_samples(self) -> int:
        """Samples per token."""
        return self.frontend.hop_samples * self.stride


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A stack of pre-norm transformer layers with rotary positions."""

    dim: int = 256
    layers: int = 4
    heads: int = 4
    hidden: int = 768
    dropout: float = 0.1


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Tokens of one modality to frame features and one embedding: the student, and the teacher's audio half."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    embedding_dim: int = 256
    teacher_dim: int = 160
    """Dimensions of the frame targets that the encoder learns to predict; 0 for none."""


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """What the masked autoencoder must know of the video tokenizer."""

    codebook_size: int = 512
    grid: int = 9
    """Tokens per video frame."""
    layers: int = 2


@dataclass(frozen=True, slots=True)
class MaeConfig:
    """Masked autoencoder over audio and, where there is any, video tokens."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    fusion_layers: int = 1
    decoder_layers: int = 1
    mask_ratio: float = 0.5
    mask_span: int = 5
    """Hidden positions come in runs of this many tokens (1: independent)."""
    mask_coupled: bool = False
    """Hide the same moments in both modalities, so that neither gives the other away."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Categories, arousal, valence and a speech gate from an embedding seen against its line and leg."""

    hidden: int = 128
    dropout: float = 0.3
    leg_prior: float = 8.0
    """Utterances of its own leg after which the leg context weighs one half."""
