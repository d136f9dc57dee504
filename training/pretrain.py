"""Stage `pretrain`: a masked autoencoder learns from tokens without labels.

It guesses hidden tokens and predicts the teacher's frames. Where a batch has faces it guesses their hidden tokens too,
pulls a clip's voice and face together (pooled, and moment by moment), and what is made of both towards what is made of
one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.audiovisual import TokenBatch, Views
from models.config import MaeConfig, TokenizerConfig
from models.mae import MaeOutput, MaskedAutoencoder
from models.masking import span_mask
from models.student import lengths_to_valid
from training.config import save_config
from training.data.av_batches import AvBatchConfig, MixedBatches
from training.data.cache import AudioCache
from training.data.token_batches import TokenBatchConfig, TokenBatches, unlabelled_data
from training.data.tokens import TokenStore
from training.data.video_tokens import VideoTokens
from training.engine import LoopConfig, train
from training.objectives import contrast, frame_loss, hidden_token_loss, info_nce
from training.train_tokenizer import LearnedTokenizer, corpus_weights

T = TypeVar("T")
Loss = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """Everything that the stage needs to know.

    drop_audio, drop_video: how often, in a batch with faces, a row's voice (or face) is kept from the other modality.
    sync_weight: of the contrastive loss between the courses of voice and face, moment by moment. joint_weight: of that
    between a clip seen whole and the same clip with one modality missing.
    """

    model: MaeConfig = field(default_factory=MaeConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1500))
    batches: TokenBatchConfig = field(default_factory=TokenBatchConfig)
    faces: AvBatchConfig = field(default_factory=AvBatchConfig)
    frame_weight: float = 2.0
    token_weight: float = 0.3
    video_token_weight: float = 0.3
    contrastive_weight: float = 0.3
    sync_weight: float = 0.5
    joint_weight: float = 0.1
    drop_audio: float = 0.15
    drop_video: float = 0.15

    def __post_init__(self) -> None:
        if not 0 <= self.drop_audio + self.drop_video <= 1:
            raise ValueError("drop_audio and drop_video must lie between 0 and 1, and so must their sum")


class PretrainTask:
    """Loss of the pretraining stage over `batches` of tokens; batches may also hold `video` and `video_length`."""

    def __init__(
        self, config: PretrainConfig, module: MaskedAutoencoder, batches: Dataset[dict[str, Tensor]]
    ) -> None:
        self.config, self.module, self.batches = config, module, batches

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Hidden tokens + frames + (with video) hidden video tokens and the contrastive losses."""
        model = self.module
        audio = self._hidden(batch["tokens"], batch["length"])
        faced = "video" in batch and bool(batch["video_length"].any())
        video = self._hidden(batch["video"], batch["video_length"]) if faced else None
        if video is not None:
            if self.config.model.mask_coupled:
                video = replace(video, hidden=_mask_of(audio) & video.valid)
            audio, video = self._with_absences(audio, video)
        output = model(audio, video)
        loss, figures = self._audio_loss(output, audio, batch)
        if video is not None:
            more, found = self._video_loss(output, audio, video)
            loss, figures = loss + more, figures | found
        return loss, figures

    def _audio_loss(self, output: MaeOutput, audio: TokenBatch, batch: Mapping[str, Tensor]) -> Loss:
        config = self.config
        tokens = hidden_token_loss(_needed(output.audio_logits), audio.tokens, _mask_of(audio))
        loss = config.token_weight * tokens
        figures = {"tokens": tokens.detach()}
        if batch["target"].shape[2]:
            heard = audio.valid & batch["heard"][:, None]
            predicted = self.module.audio.predict_frames(_needed(output.audio).frames)
            frames = frame_loss(predicted, batch["target"], heard)
            loss = loss + config.frame_weight * frames
            figures["frames"] = frames.detach()
        return loss, figures

    def _video_loss(self, output: MaeOutput, audio: TokenBatch, video: TokenBatch) -> Loss:
        config, views = self.config, output.views
        rows = video.length > 0  # a clip without a face is nobody's pair
        seen = hidden_token_loss(_needed(output.video_logits), video.tokens, _mask_of(video))
        loss, figures = config.video_token_weight * seen, {"video_tokens": seen.detach()}
        terms: list[tuple[str, float, Callable[[], Tensor]]] = [
            ("contrastive", config.contrastive_weight, lambda: self._pairs(views, rows)),
            ("sync", config.sync_weight, lambda: self._courses(views, video.valid, rows)),
            ("joint", config.joint_weight, lambda: self._wholes(views, audio, video, rows)),
        ]
        for name, weight, term in terms:
            if weight:
                value = term()
                loss, figures[name] = loss + weight * value, value.detach()
        return loss, figures

    def _pairs(self, views: Views, rows: Tensor) -> Tensor:
        """Voice and face of a clip, each pooled by itself."""
        voice, face = _needed(views.audio).embedding[rows], _needed(views.video_embedding)[rows]
        return info_nce(voice, face, self.module.log_temperature)

    def _courses(self, views: Views, valid: Tensor, rows: Tensor) -> Tensor:
        """Voice and face of a clip, moment by moment."""
        synchrony = self.module.synchrony
        voice, face = _needed(views.audio).frames[rows], _needed(views.video)[rows]
        similarity = synchrony(voice, face, valid[rows])
        return contrast(similarity, synchrony.log_temperature)

    def _wholes(self, views: Views, audio: TokenBatch, video: TokenBatch, rows: Tensor) -> Tensor:
        """A clip as it was shown, and the same clip with one modality missing."""
        model = self.module
        whole, _ = model.pool_joined(views, audio, video)
        voice = torch.rand(len(rows), device=rows.device) < 0.5
        audio, video = replace(audio, present=voice), replace(video, present=~voice)
        part, _ = model.pool_joined(model.join(views, audio, video), audio, video)
        return info_nce(part[rows], whole[rows], model.log_temperature)

    def _with_absences(self, audio: TokenBatch, video: TokenBatch) -> tuple[TokenBatch, TokenBatch]:
        chance = torch.rand(len(audio.length), device=audio.length.device)
        audio = replace(audio, present=chance >= self.config.drop_audio)
        return audio, replace(video, present=chance < 1 - self.config.drop_video)

    def _hidden(self, tokens: Tensor, length: Tensor) -> TokenBatch:
        config = self.config.model
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        valid = lengths_to_valid(length, tokens.shape[2]).cpu()  # the masks are the same on every device
        hidden = span_mask(valid, config.mask_ratio, config.mask_span, generator)
        return TokenBatch(tokens, length, hidden.to(tokens.device))


def _mask_of(batch: TokenBatch) -> Tensor:
    return _needed(batch.hidden)


def _needed(value: T | None) -> T:
    """What must be there in such a batch."""
    if value is None:
        raise ValueError("a batch lacks a modality or its mask")
    return value


def pretrain(
    config: PretrainConfig, tokenizer: TokenizerConfig, start: LearnedTokenizer, prepared: Path, tokens: Path,
    folder: Path, video: Path | None = None,
) -> None:  # fmt: skip
    """Run the stage: `model.safetensors` (the whole autoencoder), `config.json`, `log.jsonl` in `folder`.

    Args:
        config: of the stage.
        tokenizer: sizes of the audio tokens.
        start: the trained tokenizer, whose encoder is the audio half's first value.
        prepared: folder of the cache.
        tokens: folder of the audio tokens.
        folder: to write into.
        video: folder of the video tokens; None pretrains on sound alone.

    Raises:
        ValueError: video tokens of another size than the configuration's, or none of a training clip.
    """
    save_config(config, folder / "config.json")
    cache, store = AudioCache(prepared), TokenStore(tokens)
    numbers = [n for n, c in enumerate(cache.clips) if c.split == "train" and store.length(0, n) >= 4]
    weights = corpus_weights([cache.clips[n] for n in numbers])
    torch.manual_seed(config.loop.seed)
    model = MaskedAutoencoder(config.model, tokenizer)
    model.audio.load_state_dict(start.hand_over().state_dict())
    data = unlabelled_data(cache, store, numbers, weights)
    batches: Dataset[dict[str, Tensor]] = TokenBatches(data, config.batches, config.loop.seed)
    if video is not None:
        faces = VideoTokens(video)
        check_video(config.model, faces)
        model.start_video_from(torch.from_numpy(faces.codebook))
        mixed = replace(data, video=faces)
        batches = MixedBatches(mixed, config.batches, config.faces, config.loop.seed)
    train(PretrainTask(config, model, batches), config.loop, folder, "pretrain")


def check_video(model: MaeConfig, faces: VideoTokens) -> None:
    """Whether the autoencoder is built for these tokens.

    Raises:
        ValueError: it is not.
    """
    wanted, found = (model.video.grid, model.video.codebook_size), (faces.grid, faces.codebook_size)
    if wanted != found:
        raise ValueError(
            f"the video tokens are {found[0]} a picture of {found[1]} codes, the autoencoder expects {wanted[0]} of "
            f"{wanted[1]}: set model.video.grid and codebook_size"
        )
