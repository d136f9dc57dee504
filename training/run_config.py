"""Every stage's configuration, in one value that a YAML file fills."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.config import EncoderConfig
from training.calibrate import CalibrateConfig
from training.clips import CorporaConfig
from training.distil import DistilConfig
from training.export import ExportConfig
from training.finetune import FinetuneConfig
from training.head_data import HeadStageConfig
from training.measure_av import MeasureAvConfig
from training.measurer import EvaluateConfig
from training.prepare import PrepareConfig
from training.pretrain import PretrainConfig
from training.teach import TeachConfig
from training.tokenise import TokeniseConfig
from training.tokenise_video import TokeniseVideoConfig
from training.train_tokenizer import TokenizerStageConfig
from training.train_video_tokenizer import VideoTokenizerStageConfig


@dataclass(frozen=True, slots=True)
class TeachStageConfig:
    """The large teachers; none is allowed, then the fine-tuned audiovisual model teaches alone."""

    teachers: tuple[TeachConfig, ...] = ()

    def __post_init__(self) -> None:
        names = [teacher.weights for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError(f"teachers must differ in their weights, got {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Every stage's configuration. `pretrain.model.encoder` is the student's too, and as wide as the tokenizer's."""

    corpora: CorporaConfig = field(default_factory=CorporaConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    tokenizer: TokenizerStageConfig = field(default_factory=TokenizerStageConfig)
    video_tokenizer: VideoTokenizerStageConfig = field(default_factory=VideoTokenizerStageConfig)
    tokenise: TokeniseConfig = field(default_factory=TokeniseConfig)
    tokenise_video: TokeniseVideoConfig = field(default_factory=TokeniseVideoConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    teach: TeachStageConfig = field(default_factory=TeachStageConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    head: HeadStageConfig = field(default_factory=HeadStageConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    evaluate_av: MeasureAvConfig = field(default_factory=MeasureAvConfig)

    def __post_init__(self) -> None:
        one, other = (_size(e) for e in (self.tokenizer.encoder, self.pretrain.model.encoder))
        if one != other:
            raise ValueError(
                f"tokenizer.encoder and pretrain.model.encoder must be of one size (dim, layers, heads, hidden, "
                f"embedding_dim), got {one} and {other}"
            )


def _size(encoder: EncoderConfig) -> tuple[int, ...]:
    inner = encoder.transformer
    return inner.dim, inner.layers, inner.heads, inner.hidden, encoder.embedding_dim
