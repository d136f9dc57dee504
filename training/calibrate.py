"""Stage `calibrate`, on dev speakers only: a temperature, thresholds of abstention, how far to trust the leg."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.heads import LineRelativeHead
from models.student import AudioEncoder
from training.calibrate_gate import choose_gate, hear_dev
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache
from training.data.legs import EmbeddingTable, LegKind, LegSimulator, LineSimulator, Population
from training.data.tokens import TokenStore
from training.embed import embed_tokens
from training.files import write_whole
from training.finetune import labelled_numbers
from training.head_data import table_of
from training.metrics import unweighted_average_recall

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """abstain_share: part of dev that may be left unnamed. leg_loss: UAR that a leg of one emotion throughout may cost.

    speech_loss, corpus_loss, event_precision: see `training.calibrate_gate.choose_gate`.
    """

    abstain_share: float = 0.2
    speech_loss: float = 0.02
    corpus_loss: float = 0.04
    event_precision: float = 0.9
    leg_loss: float = 0.01
    leg_n: int = 8
    profile_n: int = 50
    min_speech_s: float = 0.25
    min_snr_db: float = 3.0
    seed: int = 3


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was chosen, and the dev figures it was chosen by."""

    temperature: float
    min_confidence: float
    speech_threshold: float
    sound_shift: tuple[float, ...]
    event_threshold: float
    leg_gain: float
    min_speech_s: float
    min_snr_db: float
    dev: dict[str, float]


@dataclass(frozen=True, slots=True)
class DevSet:
    """Labelled dev clips: their embeddings (one rendering) and labels."""

    table: EmbeddingTable
    labels: Floats
    allowed: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class States:
    """A state of line and leg for each row."""

    line_mean: Floats
    line_std: Floats
    line_n: Floats
    leg_mean: Floats
    leg_n: Floats


def dev_set(encoder: AudioEncoder, cache: AudioCache, store: TokenStore) -> DevSet:
    """Embed the plain rendering of every labelled dev clip.

    Raises:
        CorpusError: there is none.
    """
    targets = labelled_numbers(cache.clips, "dev")
    numbers = [n for n in targets if store.length(0, n) >= 2]
    if not numbers:
        raise CorpusError("no dev clip has a label: state `split` dev for some speakers")
    vectors = embed_tokens(encoder, [store.tokens(0, n) for n in numbers], "embed dev")[None]
    chosen = [targets[n] for n in numbers]
    table = table_of(vectors, [cache.clips[n] for n in numbers], chosen)
    labels = np.array([t.probabilities for t in chosen], np.float32)
    return DevSet(table, labels, np.array([t.mask for t in chosen]))


def line_states(table: EmbeddingTable, population: Population, n: int, rng: np.random.Generator) -> States:
    """Every row on a line that has heard n utterances of its corpus (0: cold), without a leg."""
    lines = LineSimulator(table, population)
    rows = len(table.corpus)
    profiles = [lines.cold() if n == 0 else lines.draw(str(c), n, rng, uneven=False) for c in table.corpus]
    return States(
        np.stack([mean for mean, _ in profiles]),
        np.stack([std for _, std in profiles]),
        np.full(rows, n, np.float32),
        np.zeros((rows, table.vectors.shape[2]), np.float32),
        np.zeros(rows, np.float32),
    )


def with_legs(
    states: States, table: EmbeddingTable, kind: LegKind, n: int, rng: np.random.Generator
) -> States:
    """The same lines, every row after n utterances of its own speaker where the corpus allows such a leg."""
    return States(
        states.line_mean, states.line_std, states.line_n, *LegSimulator(table).draw_all(kind, n, rng)
    )


@torch.no_grad()
def head_logits(head: LineRelativeHead, embedding: Floats, states: States) -> tuple[Floats, Floats]:
    """Logits [N, C] and speech logits [N]."""
    head.eval()
    arrays = (states.line_mean, states.line_std, states.line_n, states.leg_mean, states.leg_n)
    output = head.outputs(torch.from_numpy(embedding), *(torch.from_numpy(a) for a in arrays))
    return output.logits.numpy(), output.speech.numpy()


def mean_uar(logits: Floats, dev: DevSet) -> float:
    """UAR over each corpus's own categories, averaged over corpora."""
    values = []
    for corpus in np.unique(dev.table.corpus):
        rows = (dev.table.corpus == corpus) & (dev.table.category >= 0)
        masked = np.where(dev.allowed[rows], logits[rows], -1e4)
        values.append(
            unweighted_average_recall(dev.table.category[rows], masked.argmax(axis=1), len(CATEGORIES))
        )
    return float(np.mean(values))


def fit_temperature(logits: Floats, labels: Floats, allowed: npt.NDArray[np.bool_], weights: Floats) -> float:
    """The temperature with the least weighted cross-entropy, each row over its own corpus's categories."""

    def loss(temperature: float) -> float:
        scaled = np.where(allowed, logits / temperature, -1e4)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return float((weights * -(labels * np.where(allowed, logs, 0)).sum(axis=1)).sum())

    return float(min(np.exp(np.linspace(np.log(0.3), np.log(5.0), 200)), key=loss))


def choose_leg_gain(
    head: LineRelativeHead, dev: DevSet, population: Population, config: CalibrateConfig
) -> tuple[float, dict[str, float]]:
    """The gain that helps most over the three kinds of leg without costing a constant leg more than allowed."""
    rng = np.random.default_rng(config.seed)
    embedding = dev.table.vectors[0]
    base = line_states(dev.table, population, config.profile_n, rng)
    alone = mean_uar(head_logits(head, embedding, base)[0], dev)
    legs = {kind: with_legs(base, dev.table, kind, config.leg_n, rng) for kind in LegKind}
    best, figures = (0.0, alone), {"uar_no_leg": alone}
    for gain in (0.25, 0.5, 0.75, 1.0):
        head.leg_gain.fill_(gain)
        scores = {kind: mean_uar(head_logits(head, embedding, s)[0], dev) for kind, s in legs.items()}
        figures |= {f"uar_{kind.value}_gain_{gain}": value for kind, value in scores.items()}
        mean = float(np.mean(list(scores.values())))
        if min(scores.values()) >= alone - config.leg_loss and mean > best[1]:
            best = (gain, mean)
    head.leg_gain.fill_(best[0])
    return best[0], figures


def calibrate(
    config: CalibrateConfig,
    head: LineRelativeHead,
    encoder: AudioEncoder,
    population: Population,
    cache: AudioCache,
    store: TokenStore,
    folder: Path,
) -> Calibration:
    """Choose on dev, write `calibration.json`; the head's leg gain and sound shifts are set in place."""
    dev = dev_set(encoder, cache, store)
    gain, figures = choose_leg_gain(head, dev, population, config)
    rng = np.random.default_rng(config.seed)
    states = [line_states(dev.table, population, n, rng) for n in (0, config.profile_n)]
    parts = [head_logits(head, dev.table.vectors[0], s) for s in states]
    logits = np.concatenate([p[0] for p in parts])
    labels, allowed = np.tile(dev.labels, (2, 1)), np.tile(dev.allowed, (2, 1))
    weights = np.tile(_corpus_even(dev.table.corpus), 2)
    temperature = fit_temperature(logits, labels, allowed, weights)
    scaled = logits / temperature
    posterior = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    confidence = (posterior / posterior.sum(axis=1, keepdims=True)).max(axis=1)
    gate = choose_gate(
        head, hear_dev(head, encoder, cache, store), speech_loss=config.speech_loss,
        corpus_loss=config.corpus_loss, precision=config.event_precision,
    )  # fmt: skip
    figures |= gate.dev
    figures |= {"uar_cold": mean_uar(parts[0][0], dev), "uar_profile": mean_uar(parts[1][0], dev)}
    chosen = Calibration(
        temperature=temperature,
        min_confidence=float(_weighted_quantile(confidence, weights, config.abstain_share)),
        speech_threshold=0.0,
        sound_shift=gate.shift,
        event_threshold=gate.event_threshold,
        leg_gain=gain,
        min_speech_s=config.min_speech_s,
        min_snr_db=config.min_snr_db,
        dev=figures,
    )
    write_whole(folder / "calibration.json", json.dumps(asdict(chosen), indent=2) + "\n")
    return chosen


def load_calibration(path: Path) -> Calibration:
    """What `calibrate` wrote."""
    values = json.loads(path.read_text())
    return Calibration(**values | {"sound_shift": tuple(values["sound_shift"])})


def _corpus_even(corpus: Sequence[str] | npt.NDArray[np.str_]) -> Floats:
    names, inverse, counts = np.unique(np.asarray(corpus), return_inverse=True, return_counts=True)
    weights: Floats = (1 / (len(names) * counts[inverse])).astype(np.float32)
    return weights


def _weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, share * total[-1])])
