"""Pretraining guesses hidden tokens: of audio alone, and of both modalities where there is video."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.config import MaeConfig
from models.mae import MaeOutput, MaskedAutoencoder, TokenBatch
from tests.models import tiny
from tests.training import made as made_files
from tests.training import made_faces
from training.checkpoint import load_weights
from training.data.av_batches import AvBatchConfig
from training.data.token_batches import TokenBatchConfig
from training.engine import LoopConfig
from training.pretrain import PretrainConfig, PretrainTask, check_video, pretrain
from training.train_tokenizer import LearnedTokenizer, TokenizerStageConfig

MAE = replace(tiny.MAE, mask_span=2)


class Batches(Dataset[dict[str, Tensor]]):
    """Made clips whose voice and face say the same: one of four things, in every token."""

    def __init__(self, *, video: bool, teacher_dim: int = 5) -> None:
        self._video, self._teacher_dim = video, teacher_dim

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(step)
        topic = torch.arange(8) % 4
        audio = (topic * 4)[:, None, None] + torch.randint(2, (8, 2, 10), generator=generator)
        batch = {
            "tokens": audio,
            "length": torch.tensor([10, 10, 10, 10, 8, 8, 8, 8]),
            "target": audio.float().mean(dim=1)[:, :, None].expand(8, 10, self._teacher_dim) / 16,
            "heard": torch.tensor([True] * 7 + [False]),
        }
        if self._video:
            face = (topic * 2)[:, None, None] + torch.randint(2, (8, 3, 10), generator=generator)
            batch |= {"video": face, "video_length": batch["length"]}
        return batch


class Watched(MaskedAutoencoder):
    """Keeps what it was given."""

    def forward(self, audio: TokenBatch | None, video: TokenBatch | None = None) -> MaeOutput:
        """As it is, but remembered."""
        self.given = audio, video
        return super().forward(audio, video)


def task(mae: MaeConfig = MAE, *, video: bool, teacher_dim: int = 5) -> PretrainTask:
    """A task on made batches."""
    torch.manual_seed(0)
    config = PretrainConfig(model=mae)
    batches = Batches(video=video, teacher_dim=teacher_dim)
    return PretrainTask(config, Watched(mae, tiny.TOKENIZER), batches)


def curve(made: PretrainTask, steps: int) -> list[Mapping[str, float]]:
    """Figures of some steps of plain training."""
    optimizer = torch.optim.AdamW(made.module.parameters(), lr=0.01)
    figures: list[Mapping[str, float]] = []
    for step in range(steps):
        torch.manual_seed(step)
        loss, found = made.loss(made.batches[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        figures.append({name: float(value) for name, value in found.items()})
    return figures


def test_audio_alone_learns_tokens_and_frames() -> None:
    """Both losses fall in a few steps, and nothing of video is computed."""
    figures = curve(task(video=False), 40)
    assert set(figures[0]) == {"tokens", "frames"}
    for name in figures[0]:
        assert figures[-1][name] < 0.6 * figures[0][name]


def test_both_modalities_learn() -> None:
    """Hidden video tokens, hidden audio tokens and the contrast between clips: all are learned together."""
    figures = curve(task(video=True), 120)
    assert set(figures[0]) == {"tokens", "frames", "video_tokens", "contrastive", "sync", "joint"}
    for name, share in {"tokens": 0.6, "video_tokens": 0.6, "contrastive": 0.9}.items():
        assert figures[-1][name] < share * figures[0][name]


def test_without_a_teacher_only_tokens_are_learned() -> None:
    """A cache that nobody listened to has targets of no dimension."""
    _, figures = (made := task(video=False, teacher_dim=0)).loss(made.batches[0])
    assert set(figures) == {"tokens"}


@pytest.mark.parametrize("coupled", [False, True])
def test_coupled_masks_hide_the_same_moments(coupled: bool) -> None:
    """Coupled, a video frame is hidden exactly where the audio at its moment is; otherwise each has its own mask."""
    made = task(replace(MAE, mask_coupled=coupled), video=True)
    same = []
    for step in range(10):
        torch.manual_seed(step)
        made.loss(made.batches[step])
        assert isinstance(made.module, Watched)
        audio, video = made.module.given
        assert video is not None
        assert audio is not None
        assert audio.hidden is not None
        assert video.hidden is not None
        assert not (video.hidden & ~video.valid).any()
        same.append(torch.equal(video.hidden, audio.hidden))
    assert all(same) if coupled else not any(same)


def test_masks_repeat_with_the_step() -> None:
    """Masks come from torch's seed of the step, so a resumed run hides the same tokens."""
    made, masks = task(video=False), []
    for _ in range(2):
        torch.manual_seed(11)
        made.loss(made.batches[11])
        assert isinstance(made.module, Watched)
        given = made.module.given[0]
        assert given is not None
        masks.append(given.hidden)
    assert masks[0] is not None
    assert masks[1] is not None
    assert torch.equal(masks[0], masks[1])


def test_modalities_are_dropped_as_often_as_asked() -> None:
    """A row loses its voice or its face, never both; with chances of 0 none does."""
    dropping = task(video=True)
    dropping.config = replace(dropping.config, drop_audio=0.3, drop_video=0.5)
    voices: list[Tensor] = []
    faces: list[Tensor] = []
    for step in range(40):
        torch.manual_seed(step)
        dropping.loss(dropping.batches[step])
        assert isinstance(dropping.module, Watched)
        for batch, kept in zip(dropping.module.given, (voices, faces), strict=True):
            assert batch is not None
            assert batch.present is not None
            kept.append(batch.present)
    voice, face = torch.cat(voices), torch.cat(faces)
    assert bool((voice | face).all())
    assert float(voice.float().mean()) == pytest.approx(0.7, abs=0.1)
    assert float(face.float().mean()) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="so must their sum"):
        PretrainConfig(drop_audio=0.6, drop_video=0.6)


def test_a_clip_without_a_face_is_nobodys_pair() -> None:
    """In a batch where some have none, the contrastive losses are of the others; where none has, it is one of sound."""
    made = task(video=True)
    made.config = replace(made.config, drop_audio=0.0, drop_video=0.0)
    batch = made.batches[0]
    length = batch["video_length"].clone()
    length[[1, 6]] = 0
    torch.manual_seed(0)
    loss, figures = made.loss({**batch, "video_length": length})
    assert bool(torch.isfinite(loss))
    strange = {**batch, "video_length": length, "video": batch["video"].clone()}
    strange["video"][[1, 6]] = 7
    torch.manual_seed(0)
    assert torch.equal(made.loss(strange)[0], loss)
    assert set(figures) == {"tokens", "frames", "video_tokens", "contrastive", "sync", "joint"}
    _, figures = made.loss({**batch, "video_length": torch.zeros(8, dtype=torch.long)})
    assert set(figures) == {"tokens", "frames"}


def test_without_its_weight_nothing_joint_is_computed() -> None:
    """The pooling over both modalities then learns nothing."""
    made = task(video=True)
    made.config = replace(made.config, joint_weight=0.0)
    loss, figures = made.loss(made.batches[0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert "joint" not in figures
    assert made.module.joint.pool.project.weight.grad is None


STAGE = PretrainConfig(
    model=MAE,
    loop=LoopConfig(steps=4, warmup=1, save_every=2, log_every=1, precision="fp32", threads=1, workers=0),
    batches=TokenBatchConfig(budget_frames=120, max_frames=20),
    faces=AvBatchConfig(share=1.0, speakers=2, clips_each=2, max_frames=12),
)


def start() -> LearnedTokenizer:
    """An untrained tokenizer of the tiny size."""
    torch.manual_seed(0)
    config = TokenizerStageConfig(model=tiny.TOKENIZER, encoder=tiny.ENCODER)
    return LearnedTokenizer(config, made_files.TEACHER_DIM)


def test_the_stage_learns_from_faces_where_there_are_any(tmp_path: Path) -> None:
    """With a folder of video tokens every figure is logged, without one only those of sound; both give all weights."""
    cache = made_faces.write_cache(tmp_path / "cache")
    made_files.write_store(tmp_path / "tokens", cache, 2, 16)
    made_faces.write_tokens(tmp_path / "tokens", cache)
    encoder = replace(tiny.ENCODER, teacher_dim=made_files.TEACHER_DIM)
    config = replace(STAGE, model=replace(MAE, encoder=encoder))
    sound = {"step", "loss", "tokens", "frames"}
    for name, video, figures in (
        ("with", tmp_path / "tokens", sound | {"video_tokens", "contrastive", "sync", "joint"}),
        ("without", None, sound),
    ):
        out = tmp_path / name
        pretrain(config, tiny.TOKENIZER, start(), tmp_path / "cache", tmp_path / "tokens", out, video)
        log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert [set(line) for line in log] == [figures] * 4
        load_weights(MaskedAutoencoder(config.model, tiny.TOKENIZER), out / "model.safetensors")


def test_video_tokens_of_another_size_are_refused(tmp_path: Path) -> None:
    """With both sizes in the message."""
    cache = made_faces.write_cache(tmp_path / "cache")
    video = made_faces.write_tokens(tmp_path / "tokens", cache, grid=4)
    with pytest.raises(ValueError, match="are 4 a picture of 8 codes, the autoencoder expects 3 of 8"):
        check_video(MAE, video)
