"""A pretrained encoder learns categories from telephone audio, and writes down what it hears."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.student import lengths_to_valid
from tests.training import made
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache
from training.data.taught import TaughtStore
from training.engine import LoopConfig
from training.finetune import labelled_numbers
from training.teach import LabelledAudio, TeachConfig, Teacher, TeachTask, train_teacher, write_lessons
from training.teachers.whisper_encoder import WhisperEncoder

CONFIG = TeachConfig(
    layers=2, embedding_dim=8, frame_dim=4, basis_clips=10, budget_frames=120, max_frames=30,
    loop=LoopConfig(steps=4, warmup=1, precision="fp32", threads=1, workers=0, save_every=2, log_every=1),
)  # fmt: skip


def encoder() -> WhisperEncoder:
    """Two small layers with random weights."""
    torch.manual_seed(0)
    return WhisperEncoder(64, 2)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_loss_works_in_either_precision(tmp_path: Path, bfloat16: bool) -> None:
    """Finite, and every part is reached: pretrained layers, their mixture, pooling and categories."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips())
    batches = LabelledAudio(cache, labelled_numbers(cache.clips, "train"), CONFIG)
    task = TeachTask(CONFIG, Teacher(encoder(), CONFIG, 1), batches)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        loss, figures = task.loss(batches[0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(loss))
    assert set(figures) == {"hit"}
    assert all(p.grad is not None for p in task.module.parameters())


def test_batches_repeat(tmp_path: Path) -> None:
    """A batch depends on the step alone, and holds two encoder frames for each of the cache's."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips())
    targets = labelled_numbers(cache.clips, "train")
    one, other = (LabelledAudio(cache, targets, CONFIG)[3] for _ in range(2))
    assert torch.equal(one["audio"], other["audio"])
    assert int(one["length"].max()) * 160 == one["audio"].shape[1]


def test_a_teacher_is_trained_once_and_heard(tmp_path: Path) -> None:
    """Lessons of every training clip with speech; a second call loads the weights instead of training."""
    made.write_cache(tmp_path / "cache", made.labelled_clips())
    teacher = train_teacher(CONFIG, encoder(), tmp_path / "cache", tmp_path / "out")
    log = (tmp_path / "out" / "log.jsonl").read_text()
    again = train_teacher(CONFIG, encoder(), tmp_path / "cache", tmp_path / "out")
    assert (tmp_path / "out" / "log.jsonl").read_text() == log
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), again.parameters(), strict=True))
    write_lessons(CONFIG, teacher, tmp_path / "cache", tmp_path / "out")
    cache, said = AudioCache(tmp_path / "cache"), TaughtStore(tmp_path / "out")
    assert said.heard.tolist() == [c.split == "train" and c.kind is None for c in cache.clips]
    assert said.logits.shape == (2, len(cache.clips), len(CATEGORIES))
    frames = said.frames(0)
    assert frames is not None
    assert frames.shape == (cache.clips[0].frames, 4)


def test_padding_changes_nothing(tmp_path: Path) -> None:
    """The embedding of a clip is the same alone and beside a longer one."""
    teacher = Teacher(encoder(), CONFIG, 1).eval()
    audio = 0.1 * torch.randn(1, 8_000)
    padded = torch.cat([audio, torch.zeros(1, 4_800)], dim=1)
    vectors = []
    for heard in (audio, padded):
        mel = teacher.mel(audio)
        mel = torch.nn.functional.pad(mel, (0, (heard.shape[1] - 8_000) // 80), value=float(mel.min()))
        valid = lengths_to_valid(torch.tensor([50]), mel.shape[2] // 2)
        with torch.no_grad():
            vectors.append(teacher.embed(teacher.frames(mel, valid), valid))
    # The last convolution sees one frame beyond the end.
    torch.testing.assert_close(vectors[0], vectors[1], rtol=0.1, atol=0.05)


def test_no_label_and_no_such_weights_are_named(tmp_path: Path) -> None:
    """Each in a sentence that says what is missing."""
    cache = made.write_cache(tmp_path / "cache", [made.clip(emotion=None)])
    with pytest.raises(CorpusError, match="a teacher needs some"):
        LabelledAudio(cache, {}, CONFIG)
    with pytest.raises(ValueError, match="weights must be one of whisper-base, whisper-tiny, got 'hubert'"):
        TeachConfig(weights="hubert")
