"""Few labels: the same network from pretrained weights and from scratch, on 1, 5, 10 and 100 % of the labels.

Frame targets are off in both arms, so what the pretrained one gains, pretraining gave. Both stop by one rule: the
length doubles, each time annealed to its end, until the loss on the dev labels (the same share of them) rises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.config import EncoderConfig, TokenizerConfig
from models.mae import hide
from models.student import AudioEncoder, lengths_to_valid
from training.checkpoint import load_weights, save_weights
from training.corpora.labels import CATEGORIES
from training.data.batches import pad_rows
from training.data.token_batches import TokenBatchConfig, TokenBatches
from training.engine import LoopConfig, Task, train, use_bf16
from training.experiments.ledger import Arm, ExperimentError, Outcome
from training.experiments.sets import LabelledClips, labelled, unseen_sets
from training.experiments.source import Source, audio_half, fingerprint
from training.files import write_whole
from training.finetune import labelled_data
from training.line_classifier import LineClassifier, drop_mask, smooth
from training.objectives import masked_cross_entropy

SCRATCH = "scratch"
PRETRAINED = "pretrained"


@dataclass(frozen=True, slots=True)
class FewLabelsSettings:
    """What both arms share. first_stop: steps before dev is first looked at; it doubles from there to `loop.steps`.

    By default that is the end: early on the loss of a cold line rises while recall does too, so that stopping there
    kept arms from scratch untrained.
    """

    shares: tuple[float, ...] = (0.01, 0.05, 0.10, 1.0)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=360, learning_rate=5e-4, warmup=20, ema_decay=0.99, device="cpu"
        )
    )
    first_stop: int = 360
    batches: TokenBatchConfig = field(
        default_factory=lambda: TokenBatchConfig(budget_frames=2400, max_frames=100)
    )
    label_smoothing: float = 0.05
    drop_ratio: float = 0.15
    line_chance: float = 0.5
    corpus_power: float = 0.5

    def stops(self) -> list[int]:
        """After how many steps dev is looked at.

        >>> FewLabelsSettings(first_stop=45).stops()
        [45, 90, 180, 360]
        """
        stops = [min(self.first_stop, self.loop.steps)]
        while stops[-1] < self.loop.steps:
            stops.append(min(2 * stops[-1], self.loop.steps))
        return stops


class TokenClassifier(nn.Module):
    """Audio encoder with its pooling, and a linear classifier that sees embeddings against their line."""

    def __init__(self, encoder: EncoderConfig, tokenizer: TokenizerConfig, corpora: int) -> None:
        super().__init__()
        self.encoder = AudioEncoder(encoder, tokenizer)
        self.classifier = LineClassifier(corpora, encoder.embedding_dim, dropout=0.2)

    def embed(self, tokens: Tensor, valid: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Tokens [B, K, T] where valid [B, T] → embedding [B, E]; what is hidden is silenced."""
        silent = torch.zeros(self.encoder.config.transformer.dim)
        return self.encoder.encode(hide(self.encoder.embed(tokens), hidden, silent), valid).embedding

    def cold(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Logits [B, C] of clips of a line that nothing is known of."""
        embedding = self.embed(tokens, lengths_to_valid(length, tokens.shape[2]))
        logits: Tensor = self.classifier(embedding, torch.full_like(length, self.classifier.population))
        return logits


class LabelTask:
    """Categories, each corpus over its own."""

    def __init__(self, settings: FewLabelsSettings, module: TokenClassifier, batches: TokenBatches) -> None:
        self.settings, self.module, self.batches = settings, module, batches

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Smoothed cross-entropy; spans of tokens are silenced as augmentation."""
        model, settings = self.module, self.settings
        valid = lengths_to_valid(batch["length"], batch["tokens"].shape[2])
        embedding = model.embed(batch["tokens"], valid, drop_mask(valid, settings.drop_ratio))
        logits, _ = model.classifier.train_step(embedding, batch["corpus"], settings.line_chance)
        wanted = smooth(batch["label"], batch["allowed"], settings.label_smoothing)
        labels = masked_cross_entropy(logits, wanted, batch["allowed"]).mean()
        return labels, {"labels": labels.detach()}


class FewLabels:
    """The experiment. checkpoints: further pretraining checkpoints by name, each an arm of its own at every share."""

    name = "few_labels"
    question = "What does pretraining give where labels are few? UAR on test speakers, pretrained minus from scratch."

    def __init__(
        self, source: Source, settings: FewLabelsSettings, checkpoints: Mapping[str, Path] | None = None
    ) -> None:
        if SCRATCH in (checkpoints or {}):
            raise ExperimentError(f"{SCRATCH!r} is the arm without a checkpoint: name yours otherwise")
        self.source, self.settings = source, settings
        self._starts = {PRETRAINED: source.weights("pretrain"), **(checkpoints or {})}

    def arms(self) -> Sequence[Arm]:
        """Every share from scratch, then from each checkpoint, against the one from scratch."""
        marks = {name: fingerprint(path) for name, path in self._starts.items()}
        found = []
        for share in self.settings.shares:
            common = {"share": share, "steps": self.settings.loop.steps, "first_stop": self.settings.first_stop,
                      "learning_rate": self.settings.loop.learning_rate}  # fmt: skip
            scratch = arm_name(SCRATCH, share)
            found.append(Arm(scratch, {"start": SCRATCH, **common}))
            found += [
                Arm(arm_name(name, share), {"start": name, **common, "weights": mark}, scratch)
                for name, mark in marks.items()
            ]
        return found

    def work(self, arm: Arm, seed: int, folder: Path) -> Outcome:
        """Fine-tune, stop by dev, answer for the test speakers."""
        settings, share, start = self.settings, arm.config["share"], arm.config["start"]
        cache, store = self.source.cache(), self.source.store()
        data, names = labelled_data(cache, store, share, settings.corpus_power, seed)
        torch.manual_seed(seed)
        model = TokenClassifier(self.source.encoder(), self.source.tokenizer(), len(names))
        if start != SCRATCH:
            model.encoder.load_state_dict(audio_half(self._starts[start]))
        dev = labelled(cache, "dev", share, seed)
        bf16 = use_bf16(settings.loop.precision)

        def logits(model: TokenClassifier, numbers: Sequence[int]) -> npt.NDArray[np.float64]:
            return classify_all(model, [store.tokens(0, n) for n in numbers], bf16)

        loop = replace(settings.loop, seed=seed)
        task = LabelTask(settings, model, TokenBatches(data, settings.batches, seed))
        best, steps = train_until_dev_rises(
            task, loop, settings.stops(), lambda m: dev_loss(logits(m, dev.numbers), dev), folder
        )
        answers = {s.name: s.answers(logits(best, s.numbers)) for s in unseen_sets(cache)}
        figures = {"labels": len(data.numbers), "dev_labels": len(dev.numbers), "best_steps": steps}
        return Outcome(answers, figures)


def arm_name(start: str, share: float) -> str:
    """As its folder is called.

    >>> arm_name("scratch", 0.05)
    'scratch_5pct'
    """
    return f"{start}_{share * 100:g}pct"


def train_until_dev_rises(
    task: LabelTask,
    loop: LoopConfig,
    stops: Sequence[int],
    loss_of: Callable[[TokenClassifier], float],
    folder: Path,
) -> tuple[TokenClassifier, int]:
    """Train to each stop in turn until dev is no better than at the last one; the best weights and their steps.

    What dev said at each stop is kept in `dev.json`, so that a killed run goes on.
    """
    record, kept = folder / "dev.json", folder / "best.safetensors"
    seen: dict[str, float] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for place, stop in enumerate(stops):
        if str(stop) not in seen:
            model = _trained(task, replace(loop, steps=stop), folder)
            loss = loss_of(model)
            if loss < min(seen.values(), default=float("inf")):
                save_weights(model, kept)
            seen[str(stop)] = loss
            write_whole(record, json.dumps(seen) + "\n")
        if place and seen[str(stop)] >= seen[str(stops[place - 1])]:
            break
    best = task.module.eval()
    load_weights(best, kept)
    return best, int(min(seen, key=lambda stop: seen[stop]))


def _trained(task: Task, loop: LoopConfig, folder: Path) -> TokenClassifier:
    model = train(task, loop, folder, folder.parent.name)
    if not isinstance(model, TokenClassifier):
        raise TypeError(f"expected a TokenClassifier, got {type(model).__name__}")
    return model


@torch.no_grad()
def classify_all(
    model: TokenClassifier, rows: Sequence[npt.NDArray[np.int64]], bf16: bool, budget_frames: int = 4800
) -> npt.NDArray[np.float64]:
    """Token rows [K, T_i] → logits [N, C] in order, rows of like length together."""
    model.eval()
    found = np.zeros((len(rows), len(CATEGORIES)))
    order = sorted(range(len(rows)), key=lambda i: -rows[i].shape[1])
    at = 0
    while at < len(order):
        chosen = order[at : at + max(1, budget_frames // max(1, rows[order[at]].shape[1]))]
        at += len(chosen)
        tokens = torch.from_numpy(pad_rows([rows[i] for i in chosen], 1))
        length = torch.tensor([rows[i].shape[1] for i in chosen])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            found[chosen] = model.cold(tokens, length).float().numpy()
    return found


def dev_loss(logits: npt.NDArray[np.float64], dev: LabelledClips) -> float:
    """Mean cross-entropy of the dev clips, over its own corpus's categories, each category counting alike."""
    allowed = torch.from_numpy(np.stack([t.mask for t in dev.targets]))
    wanted = torch.from_numpy(np.stack([t.probabilities for t in dev.targets]))
    each = masked_cross_entropy(torch.from_numpy(logits).float(), wanted, allowed)
    losses = each.numpy()
    return float(np.mean([losses[dev.hard == category].mean() for category in np.unique(dev.hard)]))
