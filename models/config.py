"""Sizes of every network, as plain frozen values: saved beside each checkpoint."""

from __future__ import annotations

import math
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


QUANTIZERS = ("rvq", "fsq")
GRADIENTS = ("straight", "rotation")
SPEECH = "speech"
"""The kind of sound that is scored and has nothing else to say for itself."""


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """Causal convolutional VQ-VAE: 100 frames/s in, 25 tokens/s out.

    quantizer: `rvq`, residual codebooks (with `codebooks` 1, a single one), or `fsq`, finite scalar quantisation in
    `codebooks` groups of `len(levels)` dimensions each. Then `code_dim` is codebooks × len(levels), and
    `codebook_size` the product of `levels`: both must be given so, for every reader of this value counts on them.
    gradient: past the rvq, `straight` or `rotation` (`models.quantizer`).
    """

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
    quantizer: str = "rvq"
    gradient: str = "straight"
    levels: tuple[int, ...] = ()
    """Values that each dimension of an fsq group may take; empty for rvq."""

    def __post_init__(self) -> None:
        if self.quantizer not in QUANTIZERS:
            raise ValueError(f"quantizer must be one of {', '.join(QUANTIZERS)}, got {self.quantizer!r}")
        if self.gradient not in GRADIENTS:
            raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}, got {self.gradient!r}")
        if self.quantizer == "rvq" and self.levels:
            raise ValueError(f"levels are fsq's, expected none for rvq, got {self.levels}")
        if self.quantizer == "fsq":
            self._check_levels()

    def _check_levels(self) -> None:
        if self.gradient != "straight":
            raise ValueError(f"fsq rounds straight through, got gradient {self.gradient!r}")
        if not self.levels or min(self.levels) < 2:
            raise ValueError(f"fsq needs levels of at least 2, got {self.levels}")
        wanted = math.prod(self.levels), self.codebooks * len(self.levels)
        if (self.codebook_size, self.code_dim) != wanted:
            raise ValueError(
                f"fsq of {self.codebooks} groups with levels {self.levels} has codebook_size {wanted[0]} and "
                f"code_dim {wanted[1]}, got {self.codebook_size} and {self.code_dim}"
            )

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
class VideoTokenizerConfig:
    """Convolutional VQ-VAE on grey face crops of 96x96: 4 x 4 tokens a picture, each of a field of 24x24 pixels."""

    channels: tuple[int, int, int] = (32, 64, 128)
    """After the three strided convolutions: at 24x24, 12x12 and 4x4."""
    codebook_size: int = 512
    code_dim: int = 32
    ema_decay: float = 0.98
    dead_below: float = 0.2
    """A code whose running count falls below this share of the mean is re-seeded from the batch."""

    @property
    def grid(self) -> int:
        """Tokens per picture."""
        return 16


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """What the masked autoencoder must know of the video tokenizer, and the size of its video half."""

    codebook_size: int = 512
    grid: int = 16
    """Tokens per video frame."""
    layers: int = 2


@dataclass(frozen=True, slots=True)
class MaeConfig:
    """Masked autoencoder over audio and, where there is any, video tokens."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    fusion_layers: int = 1
    decoder_layers: int = 1
    sync_dim: int = 32
    """Dimensions in which the courses of voice and face are compared."""
    mask_ratio: float = 0.5
    mask_span: int = 5
    """Hidden positions come in runs of this many tokens (1: independent)."""
    mask_coupled: bool = False
    """Hide the same moments in both modalities, so that neither gives the other away."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Categories, arousal and valence from an embedding seen against its line and leg; what kind of sound it is.

    events: sounds that a person makes without words; named, and scored as speech is. rejected: what no emotion may be
    published for.
    """

    hidden: int = 128
    dropout: float = 0.3
    leg_prior: float = 8.0
    """Utterances of its own leg after which the leg context weighs one half."""
    events: tuple[str, ...] = ("laughter", "crying", "sigh", "cough", "scream")
    rejected: tuple[str, ...] = ("music", "tone", "prompt", "noise")

    def __post_init__(self) -> None:
        if len(set(self.sounds)) != len(self.sounds) or not self.rejected:
            raise ValueError(f"expected distinct sounds and some rejected ones, got {self.sounds}")

    @property
    def sounds(self) -> tuple[str, ...]:
        """Kinds of sound in the order of the head's output: speech, events, rejected."""
        return (SPEECH, *self.events, *self.rejected)
