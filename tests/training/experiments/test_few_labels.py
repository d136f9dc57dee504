"""Few labels: both arms alike but for their start, one stopping rule, a killed arm that goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.mae import MaskedAutoencoder
from tests.models import tiny
from tests.training.experiments.tiny_run import loop
from training.checkpoint import save_weights
from training.data.token_batches import TokenBatchConfig, TokenBatches
from training.experiments.few_labels import (
    FewLabels,
    FewLabelsSettings,
    LabelTask,
    TokenClassifier,
    classify_all,
    train_until_dev_rises,
)
from training.experiments.figures import MEAN, uar
from training.experiments.ledger import ExperimentError, Ledger
from training.experiments.source import Source, audio_half
from training.finetune import labelled_data

SETTINGS = FewLabelsSettings(
    shares=(0.5,), loop=loop(40), first_stop=20, batches=TokenBatchConfig(300, 20), drop_ratio=0.1
)


def task(source: Source, settings: FewLabelsSettings = SETTINGS) -> LabelTask:
    """The task of the arm from scratch."""
    data, names = labelled_data(source.cache(), source.store(), 1.0, 0.5, 0)
    torch.manual_seed(0)
    model = TokenClassifier(source.encoder(), source.tokenizer(), len(names))
    return LabelTask(settings, model, TokenBatches(data, settings.batches, 0))


def test_both_arms_are_run_and_compared(source: Source, tmp_path: Path) -> None:
    """Made tokens give the category away: both arms learn it, and the pretrained one is set against the other."""
    summary = Ledger(FewLabels(source, SETTINGS), tmp_path)
    assert summary.conduct() == ["scratch_50pct/0", "pretrained_50pct/0"]
    scratch, pretrained = summary.summarise()["arms"]
    assert scratch["against"] is None
    assert pretrained["against"] == "scratch_50pct"
    assert scratch["uar"]["made7"]["value"] > 0.5
    assert set(pretrained["difference"]) == {"made7"}
    assert scratch["figures"]["labels"] == pretrained["figures"]["labels"] == 28
    assert {k: v for k, v in scratch["config"].items() if k not in ("start", "weights")} == {
        k: v for k, v in pretrained["config"].items() if k not in ("start", "weights")
    }


def test_only_the_start_differs(source: Source, tmp_path: Path) -> None:
    """The pretrained arm's encoder is the checkpoint's; its map to the teacher's frames stays behind."""
    model = MaskedAutoencoder(tiny.MAE, tiny.TOKENIZER)
    save_weights(model, tmp_path / "other.safetensors")
    taken = audio_half(tmp_path / "other.safetensors")
    classifier = TokenClassifier(source.encoder(), source.tokenizer(), 1)
    classifier.encoder.load_state_dict(taken)
    assert torch.equal(classifier.encoder.embed.tables.weight, model.audio.embed.tables.weight)
    assert classifier.encoder.frame_head is None


def test_further_checkpoints_are_arms(source: Source, tmp_path: Path) -> None:
    """Each is compared with scratch at every share; its weights are part of the configuration."""
    save_weights(MaskedAutoencoder(tiny.MAE, tiny.TOKENIZER), tmp_path / "m.safetensors")
    settings = replace(SETTINGS, shares=(0.1, 1.0))
    arms = FewLabels(source, settings, {"tokens_only": tmp_path / "m.safetensors"}).arms()
    assert [arm.name for arm in arms] == [
        "scratch_10pct", "pretrained_10pct", "tokens_only_10pct",
        "scratch_100pct", "pretrained_100pct", "tokens_only_100pct",
    ]  # fmt: skip
    assert arms[1].config["weights"] != arms[2].config["weights"]
    with pytest.raises(ExperimentError, match="without a checkpoint"):
        FewLabels(source, settings, {"scratch": tmp_path / "m.safetensors"})


@pytest.mark.parametrize(
    ("steps", "first", "expected"), [(360, 45, [45, 90, 180, 360]), (50, 20, [20, 40, 50]), (5, 45, [5])]
)
def test_stops_double(steps: int, first: int, expected: list[int]) -> None:
    """From the first to the last, which is the length of the loop."""
    assert FewLabelsSettings(loop=loop(steps), first_stop=first).stops() == expected


def test_it_stops_when_dev_rises_and_gives_the_best(source: Source, tmp_path: Path) -> None:
    """Of dev losses 2, 1, 3, 0 the second's weights are kept, and the fourth stop is never reached."""
    losses, seen = iter([2.0, 1.0, 3.0, 0.0]), []

    def loss_of(model: TokenClassifier) -> float:
        seen.append(model.classifier.categories.weight.clone())
        return next(losses)

    best, steps = train_until_dev_rises(task(source), loop(40), [2, 4, 6, 8], loss_of, tmp_path)
    assert steps == 4
    assert len(seen) == 3
    assert torch.equal(best.classifier.categories.weight, seen[1])
    assert list(json.loads((tmp_path / "dev.json").read_text())) == ["2", "4", "6"]


def test_a_killed_search_goes_on(source: Source, tmp_path: Path) -> None:
    """After a kill at the second look at dev, the rest gives the weights of a search that was not killed."""

    def by_norm(model: TokenClassifier) -> float:
        return -float(model.encoder.embed.tables.weight.square().sum())

    whole, steps = train_until_dev_rises(task(source), loop(8), [2, 4, 8], by_norm, tmp_path / "whole")
    calls = 0

    def killed(model: TokenClassifier) -> float:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return by_norm(model)

    with pytest.raises(KeyboardInterrupt):
        train_until_dev_rises(task(source), loop(8), [2, 4, 8], killed, tmp_path / "killed")
    again, steps_again = train_until_dev_rises(task(source), loop(8), [2, 4, 8], by_norm, tmp_path / "killed")
    assert steps_again == steps
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_batches_do_not_change_answers(source: Source) -> None:
    """A clip has the same logits alone and among longer ones."""
    model = task(source).module.eval()
    rows = [source.store().tokens(0, n) for n in range(6)]
    together = torch.from_numpy(classify_all(model, rows, bf16=False))
    alone = torch.from_numpy(classify_all(model, rows[3:4], bf16=False, budget_frames=1))
    torch.testing.assert_close(together[3:4], alone, rtol=1e-4, atol=1e-5)


def test_answers_have_a_mean_where_sets_are_several(source: Source, tmp_path: Path) -> None:
    """One corpus has no mean of its own: the set stands for it."""
    experiment = FewLabels(source, replace(SETTINGS, loop=loop(2)))
    outcome = experiment.work(experiment.arms()[0], 0, tmp_path / "arm" / "0")
    assert MEAN not in uar(outcome.answers)
    assert set(outcome.figures) == {"labels", "dev_labels", "best_steps"}
