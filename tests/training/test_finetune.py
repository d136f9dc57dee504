"""Fine-tuning: every corpus over its own categories, balanced, against its own statistics, in either precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.audiovisual import TokenBatch
from models.config import TokenizerConfig
from models.mae import MaskedAutoencoder
from tests.models import tiny
from tests.training import made
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES, CORPUS_CATEGORIES, target
from training.data.cache import AudioCache
from training.data.taught import TaughtStore
from training.data.token_batches import TokenBatchConfig, TokenBatches
from training.data.tokens import TokenStore
from training.engine import LoopConfig, train
from training.finetune import (
    Classifier,
    FinetuneConfig,
    FinetuneTask,
    balanced_weights,
    labelled_data,
    labelled_numbers,
    write_lessons,
)
from training.line_classifier import hit_rate

TOKENIZER = TokenizerConfig(codebooks=2, codebook_size=16)


def task(folder: Path, config: FinetuneConfig) -> FinetuneTask:
    """A fine-tuning task on made tokens that give the category away."""
    cache = made.write_cache(folder / "cache", made.labelled_clips(), teacher_dim=5)
    store = made.write_store(folder / "tokens", cache, 2, 16)
    data, names = labelled_data(cache, store, 1.0, config.corpus_power, 0)
    torch.manual_seed(0)
    model = Classifier(tiny.MAE, TOKENIZER, len(names))
    return FinetuneTask(config, model, TokenBatches(data, TokenBatchConfig(300, 20), 0))


def test_it_learns_categories(tmp_path: Path) -> None:
    """On tokens that give the category away, the averaged weights soon name most of them."""
    loop = LoopConfig(
        steps=60, learning_rate=0.01, warmup=5, precision="fp32", threads=1, workers=0, ema_decay=0.9
    )
    made_task = task(tmp_path, FinetuneConfig(loop=loop, frame_weight=0.01))
    model = train(made_task, loop, tmp_path / "out", "test")
    assert isinstance(model, Classifier)
    batch = made_task.batches[1_000]
    with torch.no_grad():
        embedding, _ = model.body.fused(TokenBatch(batch["tokens"], batch["length"]), None)
        logits = model.classifier(embedding, batch["corpus"])
    assert float(hit_rate(logits, batch)) > 0.8


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_loss_works_in_either_precision(tmp_path: Path, bfloat16: bool) -> None:
    """Forward and backward pass with and without autocast: finite, and every trained part is reached."""
    made_task = task(tmp_path, FinetuneConfig())
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        loss, figures = made_task.loss(made_task.batches[0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(loss))
    assert set(figures) == {"labels", "hit", "frames"}
    touched = {n.split(".")[1] for n, p in made_task.module.named_parameters() if p.grad is not None}
    assert {"audio", "to_video", "joint", "categories"} <= touched


def test_pretrained_weights_are_taken_over() -> None:
    """The classifier starts as the autoencoder without its decoders."""
    torch.manual_seed(0)
    mae, model = MaskedAutoencoder(tiny.MAE, TOKENIZER), Classifier(tiny.MAE, TOKENIZER, 1)
    model.start_from(mae)
    wanted = mae.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in model.body.state_dict().items())


def test_lessons_are_of_every_clip_with_speech(tmp_path: Path) -> None:
    """What the fine-tuned model says is written for training speech, and follows the clip's number."""
    made_task = task(tmp_path, FinetuneConfig())
    write_lessons(made_task.module, tmp_path / "cache", tmp_path / "tokens", tmp_path / "lessons")
    cache, said = AudioCache(tmp_path / "cache"), TaughtStore(tmp_path / "lessons")
    wanted = [c.split == "train" and c.kind is None for c in cache.clips]
    assert said.heard.tolist() == wanted
    assert said.logits.shape == (2, len(cache.clips), len(CATEGORIES))
    assert said.frame_dim == 0
    tokens = TokenStore(tmp_path / "tokens").tokens(0, 0)[None]
    batch = TokenBatch(torch.from_numpy(tokens), torch.tensor([tokens.shape[2]]))
    with torch.no_grad():
        vector = made_task.module.body.fused(batch, None)[0].numpy()[0]
    alone = np.nonzero(said.heard)[0]
    np.testing.assert_allclose(said.embedding[alone].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(said.embedding[alone].std(axis=0), 1, atol=1e-2)
    assert vector.shape == said.embedding[0].shape


def test_evaluation_corpora_and_other_splits_are_never_drawn() -> None:
    """Only training clips with a target; EmoDB never, whatever its split says; noise never."""
    clips = [
        made.clip(id="a"),
        made.clip(id="b", split="dev"),
        made.clip(id="c", corpus="emodb", emotion="angry"),
        made.clip(id="d", emotion=None),
        made.clip(id="e", kind="music_jazz"),
        made.clip(id="f", corpus="turev", emotion="fear"),
    ]
    assert list(labelled_numbers(clips, "train")) == [0]
    assert list(labelled_numbers(clips, "dev")) == [1]


def test_weights_balance_corpora_and_categories() -> None:
    """90 clips against 10: corpora by the root of their size, and within one every category alike."""
    clips = [made.clip(corpus="big", emotion="happy" if i < 80 else "sad") for i in range(90)]
    clips += [made.clip(corpus="small", emotion="sad") for _ in range(10)]
    held = {"big": ("happy", "sad"), "small": ("sad",)}
    targets = [t for t in (target(c, held) for c in clips) if t is not None]
    weights = balanced_weights(clips, targets, 0.5)
    assert weights.sum() == pytest.approx(1)
    assert weights[90:].sum() / weights[:90].sum() == pytest.approx((10 / 90) ** 0.5)
    assert weights[:80].sum() == pytest.approx(weights[80:90].sum())


def test_a_corpus_of_few_voices_is_capped() -> None:
    """TESS (two voices) may not fill a batch, however many clips it has."""
    clips = [made.clip(corpus="tess") for _ in range(400)] + [made.clip(corpus="ravdess") for _ in range(4)]
    targets = [t for t in (target(c, CORPUS_CATEGORIES) for c in clips) if t is not None]
    free = np.sqrt(400) / (np.sqrt(400) + np.sqrt(4))
    assert balanced_weights(clips, targets, 0.5)[:400].sum() < free


def test_a_share_of_the_labels(tmp_path: Path) -> None:
    """A tenth keeps one clip of each category, all of them with their targets; the corpora stay the same."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips(), teacher_dim=0)
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    few, names = labelled_data(cache, store, 0.1, 0.5, 0)
    everything, all_names = labelled_data(cache, store, 1.0, 0.5, 0)
    assert names == all_names == ["made"]
    assert set(few.numbers) < set(everything.numbers)
    assert {cache.clips[n].emotion for n in few.numbers} == set(CATEGORIES)
    assert len(few.numbers) == len(few.targets) == len(few.weights) == 7


def test_no_label_at_all_is_named(tmp_path: Path) -> None:
    """Recordings without labels can't be fine-tuned on, and the error says so."""
    cache = made.write_cache(tmp_path / "cache", [made.clip(emotion=None)], teacher_dim=0)
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    with pytest.raises(CorpusError, match="no training clip has a label"):
        labelled_data(cache, store, 1.0, 0.5, 0)
