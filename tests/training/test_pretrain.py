"""Pretraining guesses hidden tokens: of audio alone, and of both modalities where there is video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.config import MaeConfig
from models.mae import MaeOutput, MaskedAutoencoder, TokenBatch
from tests.models import tiny
from training.pretrain import PretrainConfig, PretrainTask

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
            face = (topic * 2)[:, None, None] + torch.randint(2, (8, 3, 6), generator=generator)
            batch |= {"video": face, "video_length": torch.tensor([6, 6, 6, 6, 4, 4, 4, 4])}
        return batch


class Watched(MaskedAutoencoder):
    """Keeps what it was given."""

    def forward(self, audio: TokenBatch, video: TokenBatch | None = None) -> MaeOutput:
        """As it is, but remembered."""
        self.given = audio, video
        return super().forward(audio, video)


def task(mae: MaeConfig = MAE, *, video: bool, teacher_dim: int = 5) -> PretrainTask:
    """A task on made batches."""
    torch.manual_seed(0)
    config = PretrainConfig(model=mae)
    batches = Batches(video=video, teacher_dim=teacher_dim)
    return PretrainTask(config, Watched(mae, tiny.TOKENIZER), batches)  # type: ignore[arg-type]


def curve(made: PretrainTask, steps: int) -> list[Mapping[str, float]]:
    """Figures of some steps of plain training."""
    optimizer = torch.optim.AdamW(made.module.parameters(), lr=0.01)
    figures = []
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
    figures = curve(task(video=True), 60)
    assert set(figures[0]) == {"tokens", "frames", "video_tokens", "contrastive"}
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
        assert audio.hidden is not None
        assert video.hidden is not None
        assert not (video.hidden & ~video.valid).any()
        moments = torch.arange(6) * 10 // 6
        same.append(torch.equal(video.hidden, audio.hidden[:, moments] & video.valid))
    assert all(same) if coupled else not any(same)


def test_masks_repeat_with_the_step() -> None:
    """Masks come from torch's seed of the step, so a resumed run hides the same tokens."""
    made, masks = task(video=False), []
    for _ in range(2):
        torch.manual_seed(11)
        made.loss(made.batches[11])
        assert isinstance(made.module, Watched)
        masks.append(made.module.given[0].hidden)
    assert masks[0] is not None
    assert masks[1] is not None
    assert torch.equal(masks[0], masks[1])
