"""Distillation: the student learns what the teachers say, of clips with and without labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.student import AudioEncoder
from tests.models import tiny
from tests.training import made
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache
from training.data.taught import COLD, LINE, TaughtStore, write_taught
from training.distil import (
    DistilConfig,
    DistilTask,
    Lessons,
    Student,
    distil,
    lesson_data,
    load_student,
    same_size,
)
from training.engine import LoopConfig

LOOP = LoopConfig(steps=3, warmup=1, precision="fp32", threads=1, workers=0, save_every=2, log_every=1)
CONFIG = DistilConfig(loop=LOOP, drop_ratio=0.0, budget_frames=120, max_frames=30)
SMALL = replace(CONFIG, loop=replace(LOOP, learning_rate=0.0))


def write_all(folder: Path) -> AudioCache:
    """Clips of seven categories, and two more without a label."""
    unlabelled = [
        made.clip(id=f"free/{i}", corpus="free", speaker=f"free:{i}", emotion=None) for i in range(2)
    ]
    return made.write_cache(folder / "cache", [*made.labelled_clips(), *unlabelled], teacher_dim=5)


def write_teacher(
    folder: Path, cache: AudioCache, frame_dim: int, favourite: int | None = None
) -> TaughtStore:
    """A teacher whose embedding is the category's number, and whose logits are sure of it (or of its favourite)."""

    def judge(table: np.ndarray, heard: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        chosen = table[:, 0].astype(int) if favourite is None else np.full(len(table), favourite)
        sure = 6.0 * np.eye(len(CATEGORIES), dtype=np.float32)[chosen]
        return np.stack([sure, 2 * sure])

    said = []
    for number, clip in enumerate(cache.clips):
        if clip.split == "train" and clip.kind is None:
            category = CATEGORIES.index(clip.emotion) if clip.emotion else 0
            frames = np.full((clip.frames, frame_dim), category, np.float32) if frame_dim else None
            said.append((number, np.array([category, number], np.float32), frames))
    write_taught(folder, "made", len(cache.clips), said, judge, frame_dim)
    return TaughtStore(folder)


def task(folder: Path, config: DistilConfig = CONFIG, favourite: int | None = None) -> DistilTask:
    """Two teachers, one of them with frames."""
    cache = write_all(folder)
    stores = [
        write_teacher(folder / "one", cache, 3, favourite),
        write_teacher(folder / "two", cache, 0, favourite),
    ]
    data, names = lesson_data(cache, config)
    student = Student(tiny.ENCODER, tiny.tokenizer(), len(names), [2, 2], [3])
    return DistilTask(config, student, Lessons(data, stores, [1.0, 0.3], config))


def test_what_is_said_follows_the_clip(tmp_path: Path) -> None:
    """Logits and frames of a row are of one clip, whatever line it is heard over; the views lie side by side."""
    batch = task(tmp_path).batches[0]
    for place, length in enumerate(batch["length"].tolist()):
        category = int(batch["said"][place, COLD].argmax())
        assert torch.equal(batch["said"][place, LINE], 2 * batch["said"][place, COLD])
        assert batch["frames"][0][place, :length].unique().tolist() == [category]
        if bool(batch["allowed"][place].any()):
            assert int(batch["label"][place].argmax()) == category
    assert bool(batch["told"].all())
    assert batch["audio"].shape[1] == 320 * int(batch["length"].max())


@pytest.mark.parametrize("bfloat16", [False, True])
def test_every_part_of_the_student_learns(tmp_path: Path, bfloat16: bool) -> None:
    """In either precision the loss is finite and reaches every parameter."""
    made_task = task(tmp_path)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        loss, figures = made_task.loss(made_task.batches[0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(loss))
    assert {"labels", "follow", "embedding", "frames_0", "frames"} <= set(figures)
    untouched = {n for n, p in made_task.module.named_parameters() if p.grad is None}
    assert all(name.startswith("tokenizer.decoder.") for name in untouched)


def test_a_code_counts_as_its_tokens_embedding(tmp_path: Path) -> None:
    """Where embeddings are a linear map of the codes, that map is found: the way back to the tokenizer."""
    student = task(tmp_path).module
    wanted = torch.randn(tiny.TOKENIZER.code_dim, tiny.TRANSFORMER.dim)
    codes = student.tokenizer.quantizer.codebooks
    student.encoder.embed.start_from(codes, wanted.t())
    torch.testing.assert_close(student.code_map(), wanted, rtol=0.02, atol=0.02)


def test_forward_it_hears_tokens_only(tmp_path: Path) -> None:
    """The embedding is that of the serving graph: tokens first, then the encoder."""
    student = task(tmp_path).module.eval()
    audio = tiny.noise(12)
    with torch.no_grad():
        tokens, _ = student.tokenizer(audio, student.tokenizer.initial_state(1))
        served, _ = student.encoder(tokens, torch.tensor([12]))
        encoded, _ = student.encode(audio, torch.ones(1, 12, dtype=torch.bool), None)
    torch.testing.assert_close(encoded.embedding, served, rtol=1e-4, atol=1e-5)


def test_it_learns_to_follow_where_there_is_no_label(tmp_path: Path) -> None:
    """Teachers that always name one category are followed, labels notwithstanding, where labels weigh nothing."""
    config = replace(CONFIG, label_weight=0.0, logit_weight=5.0, unlabelled_share=0.5)
    made_task = task(tmp_path, config, favourite=3)
    optimizer = torch.optim.AdamW(made_task.module.parameters(), lr=0.01)
    follow = []
    for step in range(40):
        torch.manual_seed(step)
        loss, figures = made_task.loss(made_task.batches[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        follow.append(float(figures["follow"]))
    assert sum(follow[-5:]) < 0.3 * sum(follow[:5])


def test_clips_without_labels_are_drawn_as_often_as_asked(tmp_path: Path) -> None:
    """Their weights sum to the configured share; at 0 there are none."""
    cache = write_all(tmp_path)
    data, names = lesson_data(cache, replace(CONFIG, unlabelled_share=0.25))
    free = [target is None for target in data.targets]
    assert data.weights[free].sum() == pytest.approx(0.25)
    assert data.weights.sum() == pytest.approx(1)
    assert names == ["free", "made"]
    only, _ = lesson_data(cache, replace(CONFIG, unlabelled_share=0.0))
    assert all(target is not None for target in only.targets)


def test_no_label_at_all_is_named(tmp_path: Path) -> None:
    """Recordings without labels can't be distilled on, and the error says so."""
    cache = made.write_cache(tmp_path / "cache", [made.clip(emotion=None)], teacher_dim=0)
    with pytest.raises(CorpusError, match="no training clip has a label"):
        lesson_data(cache, CONFIG)


@pytest.mark.parametrize("fits", [True, False])
def test_the_student_starts_as_the_audio_half_of_its_size(tmp_path: Path, fits: bool) -> None:
    """Of another size (a smaller student) it starts from nothing; either way both parts are read back."""
    cache = write_all(tmp_path)
    write_teacher(tmp_path / "one", cache, 3)
    torch.manual_seed(5)
    start = AudioEncoder(tiny.ENCODER if fits else tiny.SMALLER, tiny.TOKENIZER)
    distil(
        SMALL,
        tiny.ENCODER,
        tiny.tokenizer(),
        start,
        {tmp_path / "one": 1.0},
        tmp_path / "cache",
        tmp_path / "out",
    )
    tokenizer, encoder = load_student(tmp_path / "out", tiny.ENCODER, tiny.TOKENIZER)
    weights = encoder.state_dict()
    assert not fits or all(torch.equal(v, weights[k]) for k, v in start.state_dict().items())
    assert tokenizer.state_size == tiny.tokenizer().state_size
    assert not tokenizer.training


def test_dropout_does_not_make_another_size() -> None:
    """Encoders that differ in dropout alone hold the same weights."""
    other = replace(tiny.ENCODER, transformer=replace(tiny.ENCODER.transformer, dropout=0.3))
    assert same_size(other, tiny.ENCODER)
    assert not same_size(tiny.SMALLER, tiny.ENCODER)
