"""Fine-tuning: every corpus over its own categories, balanced, against its own statistics, in either precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.config import TokenizerConfig
from models.mae import MaskedAutoencoder
from tests.models import tiny
from tests.training import made
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES, CORPUS_CATEGORIES, target
from training.data.token_batches import TokenBatchConfig, TokenBatches
from training.engine import LoopConfig, train
from training.finetune import (
    Classifier,
    CorpusNorm,
    FinetuneConfig,
    FinetuneTask,
    balanced_weights,
    drop_mask,
    hit_rate,
    labelled_data,
    labelled_numbers,
    smooth,
    statistics_row,
)

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
    valid = torch.arange(batch["tokens"].shape[2])[None] < batch["length"][:, None]
    with torch.no_grad():
        embedding = model.encode(batch["tokens"], valid, None).embedding
        logits = model.classify(embedding, batch["corpus"])
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
    untouched = {n for n, p in made_task.module.named_parameters() if p.grad is None}
    assert all(name.startswith("audio.pool.") for name in untouched)


def test_pretrained_weights_are_taken_over() -> None:
    """The classifier starts as the autoencoder's audio half and fusion."""
    torch.manual_seed(0)
    mae, model = MaskedAutoencoder(tiny.MAE, TOKENIZER), Classifier(tiny.MAE, TOKENIZER, 1)
    model.start_from(mae)
    for mine, its in ((model.audio, mae.audio), (model.to_video, mae.to_video)):
        for name, value in its.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value)


def test_corpora_are_standardised_by_their_own_statistics() -> None:
    """In its own row each corpus has zero mean and unit variance; in the last one the mixture of them has."""
    norm, generator = CorpusNorm(2, 3), torch.Generator().manual_seed(0)

    def drawn() -> tuple[Tensor, Tensor]:
        corpus = torch.arange(64) % 2
        x = torch.randn(64, 3, generator=generator)
        return torch.where(corpus[:, None] == 0, 2 * x + 5, x - 5), corpus

    for _ in range(300):
        norm.learn(*drawn())
    embedding, corpus = drawn()
    own = norm(embedding, corpus)
    for number in (0, 1):
        assert float(own[corpus == number].mean()) == pytest.approx(0, abs=0.3)
        assert float(own[corpus == number].std()) == pytest.approx(1, abs=0.2)
    mixed = norm(embedding, torch.full((64,), 2))
    assert float(mixed.mean()) == pytest.approx(0, abs=0.3)
    assert float(mixed[corpus == 0].mean()) > 0.8


def test_statistics_of_few_rows_are_not_learned() -> None:
    """Fewer than four rows of a corpus say nothing about its spread."""
    norm = CorpusNorm(2, 3)
    norm.learn(torch.randn(3, 3), torch.zeros(3, dtype=torch.int64))
    assert not norm.mean.any()


def test_rows_of_statistics() -> None:
    """Chance 0 is always the population, chance 1 always the own corpus."""
    corpus = torch.tensor([0, 1, 0])
    assert statistics_row(corpus, 2, 0.0).tolist() == [2, 2, 2]
    assert statistics_row(corpus, 2, 1.0).tolist() == [0, 1, 0]


def test_smoothing_stays_among_the_allowed() -> None:
    """0.1 of a hard label over two allowed categories: 0.95 and 0.05, nothing for the third."""
    label = torch.tensor([[1.0, 0.0, 0.0]])
    allowed = torch.tensor([[True, True, False]])
    torch.testing.assert_close(smooth(label, allowed, 0.1), torch.tensor([[0.95, 0.05, 0.0]]))


def test_dropped_tokens_repeat_with_torchs_seed() -> None:
    """The mask comes from the step's seed; a ratio of 0 is no mask."""
    valid = torch.ones(2, 30, dtype=torch.bool)
    torch.manual_seed(5)
    one = drop_mask(valid, 0.3)
    torch.manual_seed(5)
    other = drop_mask(valid, 0.3)
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)
    assert 0 < int(one.sum()) < 60
    assert drop_mask(valid, 0.0) is None


def test_hits_are_judged_among_the_allowed() -> None:
    """The largest logit is of a category that the corpus lacks: the next one counts."""
    batch = {"label": torch.eye(3)[[1, 0]], "allowed": torch.tensor([[True, True, False]] * 2)}
    assert float(hit_rate(torch.tensor([[0.0, 1.0, 9.0], [0.0, 1.0, 9.0]]), batch)) == 0.5


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
