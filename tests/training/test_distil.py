"""Distillation: the student starts as the teacher's audio half and learns to do without its fusion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.config import TokenizerConfig
from models.student import lengths_to_valid
from tests.models import tiny
from tests.training import made
from training.data.token_batches import TokenBatchConfig, TokenBatches
from training.distil import DistilConfig, DistilTask, Student
from training.finetune import Classifier, labelled_data

TOKENIZER = TokenizerConfig(codebooks=2, codebook_size=16)


def task(folder: Path, teachers: int = 1, config: DistilConfig | None = None) -> DistilTask:
    """A task with untrained teachers; the student starts as the first."""
    cache = made.write_cache(folder / "cache", made.labelled_clips(), teacher_dim=5)
    store = made.write_store(folder / "tokens", cache, 2, 16)
    data, names = labelled_data(cache, store, 1.0, 0.5, 0)
    torch.manual_seed(0)
    taught = [Classifier(tiny.MAE, TOKENIZER, len(names)) for _ in range(teachers)]
    student = Student(tiny.ENCODER, TOKENIZER, len(names))
    student.start_from(taught[0])
    batches = TokenBatches(data, TokenBatchConfig(300, 20), 0)
    return DistilTask(config or DistilConfig(drop_ratio=0.0), student, taught, batches)


def test_the_student_starts_as_the_teachers_audio_half(tmp_path: Path) -> None:
    """Same frames and middle layer at once; only what the fusion adds to the embedding is missing."""
    made_task = task(tmp_path)
    student, teacher = made_task.module.eval(), made_task._teachers[0]
    batch = made_task.batches[0]
    valid = lengths_to_valid(batch["length"], batch["tokens"].shape[2])
    with torch.no_grad():
        one, other = (
            student.encode(batch["tokens"], valid, None),
            teacher.encode(batch["tokens"], valid, None),
        )
    assert torch.equal(one.frames, other.frames)
    assert torch.equal(one.middle, other.middle)
    assert not torch.allclose(one.embedding, other.embedding)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_only_the_student_learns(tmp_path: Path, bfloat16: bool) -> None:
    """In either precision the loss is finite, reaches the student and leaves the teachers alone."""
    made_task = task(tmp_path, teachers=2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        loss, figures = made_task.loss(made_task.batches[0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(loss))
    assert set(figures) == {"labels", "follow", "hit", "frames"}
    assert all(p.grad is not None for p in made_task.module.parameters())
    assert all(p.grad is None for t in made_task._teachers for p in t.parameters())


def test_it_learns_to_follow(tmp_path: Path) -> None:
    """From a classifier of its own it comes to say what the teacher says."""
    made_task = task(tmp_path, config=DistilConfig(drop_ratio=0.0, logit_weight=5.0, label_smoothing=1.0))
    with torch.no_grad():
        made_task._teachers[0].categories.weight.mul_(5)
        made_task.module.categories.weight.normal_()
    optimizer = torch.optim.AdamW(made_task.module.parameters(), lr=0.01)
    follow = []
    for step in range(40):
        torch.manual_seed(step)
        loss, figures = made_task.loss(made_task.batches[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        follow.append(float(figures["follow"]))
    assert sum(follow[-5:]) < 0.4 * sum(follow[:5])
