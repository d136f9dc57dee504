"""Stage `finetune`: the pretrained model learns categories from labels, each corpus over those that it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models.audiovisual import AudiovisualEncoder, TokenBatch
from models.config import MaeConfig, TokenizerConfig
from models.mae import MaskedAutoencoder
from training.config import save_config
from training.corpora.errors import CorpusError
from training.corpora.labels import EVALUATION_ONLY, Target, held_categories, target
from training.corpora.registry import REGISTRY
from training.corpora.splits import label_share
from training.data.batches import pad_rows
from training.data.cache import AudioCache, Clip
from training.data.taught import write_taught
from training.data.token_batches import TokenBatchConfig, TokenBatches, TokenData
from training.data.tokens import TokenStore
from training.data.video_tokens import VideoTokens
from training.engine import LoopConfig, train
from training.line_classifier import LineClassifier, drop_mask, hit_rate, judge, smooth
from training.objectives import frame_loss, masked_cross_entropy


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """Everything that the stage needs to know.

    label_share: part of the training labels that is used. line_chance: how often an embedding is seen against its own
    corpus's statistics rather than the population's. drop_audio, drop_video: how often a clip that has a face must do
    without its sound (or its face).
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1200, learning_rate=3e-4))
    batches: TokenBatchConfig = field(default_factory=TokenBatchConfig)
    label_share: float = 1.0
    label_smoothing: float = 0.05
    frame_weight: float = 0.7
    drop_ratio: float = 0.15
    line_chance: float = 0.5
    corpus_power: float = 0.5
    drop_audio: float = 0.2
    drop_video: float = 0.2


class Classifier(nn.Module):
    """The audiovisual encoder with categories: what the pretrained model becomes when it is shown labels."""

    def __init__(self, config: MaeConfig, tokenizer: TokenizerConfig, corpora: int) -> None:
        super().__init__()
        self.body = AudiovisualEncoder(config, tokenizer)
        self.classifier = LineClassifier(corpora, config.encoder.embedding_dim, 0.2)

    def start_from(self, mae: MaskedAutoencoder) -> None:
        """Take over what pretraining learned."""
        wanted = self.body.state_dict().keys()
        self.body.load_state_dict({k: v for k, v in mae.state_dict().items() if k in wanted})


class FinetuneTask:
    """Loss of the fine-tuning stage."""

    def __init__(self, config: FinetuneConfig, module: Classifier, batches: TokenBatches) -> None:
        self.config, self.module, self.batches = config, module, batches

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Categories + frames."""
        model, config = self.module, self.config
        audio, video = self._seen(batch)
        views = model.body.look(audio, video)
        embedding, _ = model.body.pool_joined(views, audio, video)
        logits, _ = model.classifier.train_step(embedding, batch["corpus"], config.line_chance)
        wanted = smooth(batch["label"], batch["allowed"], config.label_smoothing)
        labels = masked_cross_entropy(logits, wanted, batch["allowed"]).mean()
        loss, figures = labels, {"labels": labels.detach(), "hit": hit_rate(logits, batch)}
        if config.frame_weight and batch["target"].shape[2] and views.audio is not None:
            heard = audio.valid & batch["heard"][:, None]
            frames = frame_loss(model.body.audio.predict_frames(views.audio.frames), batch["target"], heard)
            loss = loss + config.frame_weight * frames
            figures["frames"] = frames.detach()
        return loss, figures

    def _seen(self, batch: Mapping[str, Tensor]) -> tuple[TokenBatch, TokenBatch | None]:
        """Both modalities, each now and then kept back (never both of them)."""
        config = self.config
        audio = TokenBatch(batch["tokens"], batch["length"])
        audio = replace(audio, hidden=drop_mask(audio.valid, config.drop_ratio))
        if "video" not in batch:
            return audio, None
        video = TokenBatch(batch["video"], batch["video_length"])
        chance = torch.rand(len(audio.length))
        faced = video.length > 0
        audio = replace(audio, present=(chance >= config.drop_audio) | ~faced)
        video = replace(
            video, hidden=drop_mask(video.valid, config.drop_ratio), present=chance < 1 - config.drop_video
        )
        return audio, video


def labelled_numbers(clips: Sequence[Clip], split: str) -> dict[int, Target]:
    """Clips of a split that carry a usable target, by number; evaluation-only corpora never."""
    found = {}
    held = held_categories(clip for clip in clips if clip.kind is None)
    for number, clip in enumerate(clips):
        if clip.split != split or clip.kind is not None or clip.corpus in EVALUATION_ONLY:
            continue
        wanted = target(clip, held)
        if wanted is not None:
            found[number] = wanted
    return found


def balanced_weights(
    clips: Sequence[Clip], targets: Sequence[Target], power: float
) -> npt.NDArray[np.float64]:
    """Corpora by n^power (none beyond its `max_share`), and within a corpus every category alike; sums to 1."""
    per_corpus = Counter(clip.corpus for clip in clips)
    shares = {name: count**power for name, count in per_corpus.items()}
    total = sum(shares.values())
    shares = {name: value / total for name, value in shares.items()}
    if len(shares) > 1:
        shares = {n: min(v, REGISTRY[n].facts.max_share if n in REGISTRY else 1.0) for n, v in shares.items()}
    cells = [(clip.corpus, int(t.probabilities.argmax())) for clip, t in zip(clips, targets, strict=True)]
    per_cell = Counter(cells)
    kinds = Counter(corpus for corpus, _ in per_cell)
    weights = np.array([shares[c] / (kinds[c] * per_cell[(c, k)]) for c, k in cells])
    return np.asarray(weights / weights.sum())


def labelled_data(
    cache: AudioCache, store: TokenStore, share: float, power: float, seed: int
) -> tuple[TokenData, list[str]]:
    """Training clips with targets, their sampling weights, and the corpora by number.

    Raises:
        CorpusError: no training clip has a label.
    """
    targets = labelled_numbers(cache.clips, "train")
    numbers = [n for n in targets if store.length(0, n) >= 4]
    if share < 1:
        chosen = [cache.clips[n] for n in numbers]
        kept = {clip.id for clip in label_share(chosen, share, seed=seed, held=held_categories(chosen))}
        numbers = [n for n in numbers if cache.clips[n].id in kept]
    if not numbers:
        raise CorpusError("no training clip has a label: the stages from `finetune` on need some")
    clips = [cache.clips[n] for n in numbers]
    names = sorted({clip.corpus for clip in clips})
    wanted = [targets[n] for n in numbers]
    weights = balanced_weights(clips, wanted, power)
    return TokenData(cache, store, numbers, weights, wanted, [names.index(c.corpus) for c in clips]), names


def finetune(
    config: FinetuneConfig, mae: MaeConfig, tokenizer: TokenizerConfig, pretrained: MaskedAutoencoder | None,
    prepared: Path, tokens: Path, folder: Path, *, video: Path | None = None,
) -> None:  # fmt: skip
    """Run the stage: `model.safetensors`, `config.json`, `log.jsonl` in `folder`.

    `pretrained` None starts from scratch; `video` is the folder of video tokens, where labelled clips have faces.
    """
    save_config(config, folder / "config.json")
    cache, store = AudioCache(prepared), TokenStore(tokens)
    data, names = labelled_data(cache, store, config.label_share, config.corpus_power, config.loop.seed)
    if video is not None:
        data = replace(data, video=VideoTokens(video))
    torch.manual_seed(config.loop.seed)
    model = Classifier(mae, tokenizer, len(names))
    if pretrained is not None:
        model.start_from(pretrained)
    batches = TokenBatches(data, config.batches, config.loop.seed)
    train(FinetuneTask(config, model, batches), config.loop, folder, "finetune")


@torch.no_grad()
def write_lessons(model: Classifier, prepared: Path, tokens: Path, folder: Path) -> None:
    """Let the fine-tuned model hear the plain rendering of every training clip; write a `TaughtStore` into `folder`."""
    cache, store = AudioCache(prepared), TokenStore(tokens)
    model.eval()
    numbers = [
        n
        for n, c in enumerate(cache.clips)
        if c.split == "train" and c.kind is None and store.length(0, n) >= 4
    ]
    numbers.sort(key=lambda n: store.length(0, n))
    said: list[tuple[int, npt.NDArray[np.float32], None]] = []
    for at in tqdm(range(0, len(numbers), 64), desc="lessons", mininterval=2):
        chosen = numbers[at : at + 64]
        rows = [store.tokens(0, n) for n in chosen]
        batch = TokenBatch(torch.from_numpy(pad_rows(rows, 1)), torch.tensor([r.shape[1] for r in rows]))
        vectors = model.body.fused(batch, None)[0].float().numpy()
        said += [(n, vector, None) for n, vector in zip(chosen, vectors, strict=True)]
    corpora = [c.corpus for c in cache.clips]
    categories = model.classifier.categories
    write_taught(
        folder, "audiovisual", len(cache.clips), said,
        lambda table, heard: judge(categories, table, heard, corpora), 0,
    )  # fmt: skip
