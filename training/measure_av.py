"""What voice and face tell of each other, on people that nothing was trained on.

Every clip is cut to a window of one length first: else the length alone would say which voice belongs to which face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.mae import MaskedAutoencoder, TokenBatch
from models.masking import span_mask
from training.data.cache import AudioCache
from training.data.tokens import TokenStore
from training.data.video_tokens import VideoTokens

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
KS = (1, 5)


@dataclass(frozen=True, slots=True)
class MeasureAvConfig:
    """How it is measured.

    window: tokens of each clip, from its middle; shorter clips are left out. draws: masks per clip. resamples: for
    intervals. batch: clips at once.
    """

    window: int = 40
    draws: int = 8
    resamples: int = 2000
    batch: int = 32
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """Clips cut to one window: audio int64 [N, K, W], video int64 [N, G, W], and whose each is."""

    audio: Tensor
    video: Tensor
    speakers: tuple[str, ...]
    splits: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.speakers)


def measure_av(
    model: MaskedAutoencoder,
    cache: AudioCache,
    store: TokenStore,
    video: VideoTokens,
    config: MeasureAvConfig,
) -> dict[str, Any]:
    """Retrieval, hidden tokens and missing modalities, over the dev and test speakers together and each by itself.

    Returns:
        Plain values for JSON: `clips`, `speakers`, `window_s`, and for each of `all`, `dev` and `test` that has two
        clips or more `retrieval` (by the pooled embeddings), `retrieval_by_course` (moment by
        moment), `hidden_video`, `hidden_audio` and `missing`.

    Raises:
        ValueError: fewer than two clips of unseen speakers have faces and are long enough.
    """
    pool = unseen_pool(cache, store, video, config.window)
    if len(pool) < 2:
        raise ValueError(f"fewer than two dev or test clips have faces for {config.window} tokens")
    model.eval()
    voices, faces, joints = embed(model, pool, config.batch)
    courses = course_similarity(model, pool)
    hidden = hidden_token_figures(model, pool, config)
    parts = {"all": np.arange(len(pool))}
    parts |= {split: np.flatnonzero(np.array(pool.splits) == split) for split in ("dev", "test")}
    report: dict[str, Any] = {
        "clips": len(pool),
        "speakers": {name: pool.speakers.count(name) for name in sorted(set(pool.speakers))},
        "window_s": config.window / 25,
    }
    for name, rows in parts.items():
        if len(rows) < 2:
            continue
        rng = np.random.default_rng(config.seed)
        whose = [pool.speakers[row] for row in rows]
        report[name] = {
            "clips": len(rows),
            "speakers": len(set(whose)),
            "retrieval": retrieval_report(
                similarity(voices, faces)[np.ix_(rows, rows)], whose, rng, config.resamples
            ),
            "retrieval_by_course": retrieval_report(
                courses[np.ix_(rows, rows)], whose, rng, config.resamples
            ),
            **{kind: _compared(found, rows, rng, config.resamples) for kind, found in hidden.items()},
            "missing": missing_report({kind: made[rows] for kind, made in joints.items()}),
        }
    return report


def unseen_pool(cache: AudioCache, store: TokenStore, video: VideoTokens, window: int) -> Pool:
    """The middle `window` tokens of every dev and test clip with a face, in the plain rendering."""
    audio, faces, speakers, splits = [], [], [], []
    for number, clip in enumerate(cache.clips):
        seen = video.tokens(clip) if clip.split in ("dev", "test") else None
        length = store.length(0, number)
        if seen is None or length < window:
            continue
        middle = slice((length - window) // 2, (length - window) // 2 + window)
        audio.append(store.tokens(0, number)[:, middle])
        faces.append(seen[:, np.minimum(store.frames(0, number)[middle], seen.shape[1] - 1)])
        speakers.append(clip.speaker)
        splits.append(clip.split)
    shapes = (0, store.codebooks, window), (0, video.grid, window)
    stacked = [
        np.stack(rows) if rows else np.zeros(s, np.int64)
        for rows, s in zip((audio, faces), shapes, strict=True)
    ]
    return Pool(torch.from_numpy(stacked[0]), torch.from_numpy(stacked[1]), tuple(speakers), tuple(splits))


def _batch(tokens: Tensor, hidden: Tensor | None = None) -> TokenBatch:
    return TokenBatch(tokens, torch.full((len(tokens),), tokens.shape[2]), hidden)


@torch.no_grad()
def embed(model: MaskedAutoencoder, pool: Pool, size: int) -> tuple[Floats, Floats, dict[str, Floats]]:
    """Embeddings [N, E] of the voices alone, of the faces alone, and the joint ones: `both`, `audio`, `video`."""
    voices, faces = [], []
    joints: dict[str, list[Tensor]] = {"both": [], "audio": [], "video": []}
    for at in range(0, len(pool), size):
        audio, video = _batch(pool.audio[at : at + size]), _batch(pool.video[at : at + size])
        views = model.look(audio, video)
        if views.audio is None or views.video_embedding is None:
            raise ValueError("expected views of both modalities")
        voices.append(views.audio.embedding)
        faces.append(views.video_embedding)
        joints["both"].append(model.pool_joined(views, audio, video)[0])
        joints["audio"].append(model.fused(audio, None)[0])
        joints["video"].append(model.fused(None, video)[0])
    return _joined(voices), _joined(faces), {kind: _joined(made) for kind, made in joints.items()}


@torch.no_grad()
def course_similarity(model: MaskedAutoencoder, pool: Pool) -> Floats:
    """How well the course of each voice fits that of each face, cosines [N, N]."""
    audio, video = _batch(pool.audio), _batch(pool.video)
    fits = model.synchrony(model.hear(audio).frames, model.see(video), audio.valid)
    return np.asarray(fits.double().numpy(), dtype=np.float64)


def _joined(rows: Sequence[Tensor]) -> Floats:
    return np.asarray(torch.cat(list(rows)).double().numpy(), dtype=np.float64)


def similarity(one: Floats, other: Floats) -> Floats:
    """Cosines between the rows of [N, E] and [M, E], [N, M]."""
    lengths = [np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (one, other)]
    return np.asarray((one / lengths[0]) @ (other / lengths[1]).T)


def ranks(scores: Floats, allowed: npt.NDArray[np.bool_]) -> Floats:
    """Rank of each column in its row, among the row's allowed ones, [N, N]; 1 is the best, ties share their mean rank.

    scores [N, N]; allowed bool [N, N], True on the diagonal. Of a column that isn't allowed it says nothing.
    """
    better = (allowed[:, None, :] & (scores[:, None, :] > scores[:, :, None])).sum(axis=2)
    tied = (allowed[:, None, :] & (scores[:, None, :] == scores[:, :, None])).sum(axis=2)
    return np.asarray(1 + better + 0.5 * (tied - 1), dtype=np.float64)


def retrieval_report(
    scores: Floats, speakers: Sequence[str], rng: np.random.Generator, resamples: int
) -> dict[str, Any]:
    """Voice → face and face → voice, among all clips and among the same speaker's (so that identity can't help).

    scores: voice by face [N, N], the right pairs on the diagonal.
    """
    whose = np.array(speakers)
    same = whose[:, None] == whose[None]
    everyone = np.ones_like(same)
    report: dict[str, Any] = {}
    for name, allowed in (("among_all", everyone), ("same_speaker", same)):
        rows = np.flatnonzero(allowed.sum(axis=1) > 1)
        if not len(rows):
            continue
        kept = np.ix_(rows, rows)
        report[name] = {
            "voice_to_face": retrieval(scores[kept], allowed[kept], rng, resamples),
            "face_to_voice": retrieval(scores.T[kept], allowed[kept], rng, resamples),
        }
    return report


def retrieval(
    scores: Floats, allowed: npt.NDArray[np.bool_], rng: np.random.Generator, resamples: int
) -> dict[str, Any]:
    """Recall at 1 and 5 and the median rank, with what chance gives.

    interval: 95 %, bootstrap over the queries. chance_interval: 95 % of the same figure when right answers are dealt
    at random within the allowed ones; p: how often that is at least as good.
    """
    every = ranks(scores, allowed)
    found = np.diag(every)
    sizes = allowed.sum(axis=1)
    drawn = found[rng.integers(len(found), size=(resamples, len(found)))]
    groups = [np.flatnonzero(group) for group in np.unique(allowed, axis=0)]
    rows = np.arange(len(found))
    dealt = np.stack([every[rows, _dealt(groups, len(rows), rng)] for _ in range(resamples)])
    report: dict[str, Any] = {
        "queries": len(found),
        "candidates": round(float(sizes.mean()), 2),
        "median_rank": float(np.median(found)),
        "median_rank_chance": round(float(np.median((sizes + 1) / 2)), 2),
        "median_rank_interval": _interval(np.median(drawn, axis=1)),
    }
    for k in KS:
        hit, by_chance = float((found <= k).mean()), (dealt <= k).mean(axis=1)
        report[f"recall_at_{k}"] = {
            "value": round(hit, 4),
            "interval": _interval((drawn <= k).mean(axis=1)),
            "chance": round(float(np.minimum(1, k / sizes).mean()), 4),
            "chance_interval": _interval(by_chance),
            "p": round(float((1 + (by_chance >= hit).sum()) / (1 + resamples)), 4),
        }
    return report


def _dealt(groups: Sequence[Numbers], count: int, rng: np.random.Generator) -> Numbers:
    """Right answers, dealt anew within groups of rows that may answer for one another."""
    order = np.arange(count)
    for rows in groups:
        order[rows] = rng.permutation(rows)
    return order


def _interval(values: Floats) -> list[float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return [round(float(low), 4), round(float(high), 4)]


@torch.no_grad()
def hidden_token_figures(
    model: MaskedAutoencoder, pool: Pool, config: MeasureAvConfig
) -> dict[str, dict[str, dict[str, Floats]]]:
    """Hidden tokens of either modality, guessed with the other one, without it, and with another clip's.

    Returns:
        `hidden_video` and `hidden_audio` → `with`, `without`, `shuffled` → `loss` (nats) and `accuracy` per clip [N].
    """
    other = torch.from_numpy(swapped(pool.speakers))
    conditions: Mapping[str, Tensor | None] = {
        "with": torch.arange(len(pool)),
        "without": None,
        "shuffled": other,
    }
    report: dict[str, dict[str, dict[str, Floats]]] = {}
    for kind, own, partner in (
        ("hidden_video", pool.video, pool.audio),
        ("hidden_audio", pool.audio, pool.video),
    ):
        sums = {name: np.zeros((2, len(pool))) for name in conditions}
        for draw in range(config.draws):
            generator = torch.Generator().manual_seed(config.seed * 1000 + draw)
            valid = torch.ones(len(pool), own.shape[2], dtype=torch.bool)
            hidden = span_mask(valid, model.config.mask_ratio, model.config.mask_span, generator)
            for name, rows in conditions.items():
                given = None if rows is None else partner[rows]
                sums[name] += _guessed(model, kind, own, hidden, given, config.batch) / config.draws
        report[kind] = {name: {"loss": total[0], "accuracy": total[1]} for name, total in sums.items()}
    return report


def _guessed(
    model: MaskedAutoencoder, kind: str, own: Tensor, hidden: Tensor, given: Tensor | None, size: int
) -> Floats:
    """Mean loss and accuracy over each clip's hidden tokens, [2, N]."""
    rows = []
    for at in range(0, len(own), size):
        part = slice(at, at + size)
        mine = _batch(own[part], hidden[part])
        theirs = None if given is None else _batch(given[part])
        output = model(theirs, mine) if kind == "hidden_video" else model(mine, theirs)
        logits = output.video_logits if kind == "hidden_video" else output.audio_logits
        wanted = own[part].transpose(1, 2)
        loss = F.cross_entropy(logits.float().permute(0, 3, 1, 2), wanted, reduction="none").mean(dim=2)
        right = (logits.argmax(dim=3) == wanted).float().mean(dim=2)
        weight = hidden[part].float() / hidden[part].sum(dim=1, keepdim=True).clamp(min=1)
        rows.append(torch.stack([(loss * weight).sum(dim=1), (right * weight).sum(dim=1)]))
    return np.asarray(torch.cat(rows, dim=1).double().numpy(), dtype=np.float64)


def swapped(speakers: Sequence[str]) -> Numbers:
    """For each clip another one: the same speaker's where there is one, else anybody's."""
    whose = np.array(speakers)
    everyone = np.arange(len(whose))
    out = np.roll(everyone, 1)
    for speaker in set(speakers):
        rows = np.flatnonzero(whose == speaker)
        if len(rows) > 1:
            out[rows] = np.roll(rows, 1)
    return out


def _compared(
    found: Mapping[str, Mapping[str, Floats]], rows: Numbers, rng: np.random.Generator, resamples: int
) -> dict[str, Any]:
    """Means over clips, and what the other modality is worth: 95 % interval of the paired difference over clips."""
    report: dict[str, Any] = {
        name: {figure: round(float(values[rows].mean()), 4) for figure, values in figures.items()}
        for name, figures in found.items()
    }
    drawn = rng.integers(len(rows), size=(resamples, len(rows)))
    for name in ("without", "shuffled"):
        gain = found[name]["loss"][rows] - found["with"]["loss"][rows]
        report[f"gain_over_{name}"] = {
            "value": round(float(gain.mean()), 4),
            "interval": _interval(gain[drawn].mean(axis=1)),
        }
    return report


def missing_report(joints: Mapping[str, Floats]) -> dict[str, Any]:
    """How far the joint embedding moves when a modality is missing.

    own: mean cosine to the same clip's whole embedding. other: to other clips'. recall_at_1: how often the clip's own
    whole embedding is the nearest of all.
    """
    count = len(joints["both"])
    report: dict[str, Any] = {}
    for kind, missing in (("audio", "without_video"), ("video", "without_audio")):
        scores = similarity(joints[kind], joints["both"])
        apart = ~np.eye(count, dtype=np.bool_)
        report[missing] = {
            "own": round(float(np.diag(scores).mean()), 4),
            "other": round(float(scores[apart].mean()), 4),
            "recall_at_1": round(float((np.diag(ranks(scores, np.ones_like(apart))) <= 1).mean()), 4),
            "chance": round(1 / count, 4),
        }
    return report
