"""The head's data: what is known of each clip, rows in every state of line and leg, and a loss that falls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import HeadConfig
from models.student import AudioEncoder
from tests.models import tiny
from tests.training import made
from training.corpora.labels import CATEGORIES, CIRCUMPLEX, target
from training.data.cache import AudioCache
from training.data.tokens import TokenStore
from training.engine import LoopConfig
from training.head_data import HeadData, HeadStageConfig, dimension_targets, gather
from training.sounds import SoundData
from training.train_head import HeadBatches, HeadTask, load_population, train_head

LOOP = LoopConfig(
    steps=8, warmup=2, save_every=4, log_every=1, precision="fp32", threads=1, workers=0, learning_rate=0.01
)
CONFIG = HeadStageConfig(
    model=HeadConfig(hidden=12), loop=LOOP, rows=24, gate_rows=8, variants=2, tones=6, profiles_per_corpus=5
)
TOKENIZER = replace(tiny.TOKENIZER, codebook_size=16)


def clips() -> list[made.Clip]:
    """The usual ones, two that are rated for arousal only, laughter, and unlabelled speech."""
    rated = [
        made.clip(id=f"baved/{n}", corpus="baved", speaker=f"baved:{n}", emotion=None, arousal=0.7)
        for n in (0, 1)
    ]
    other = [
        made.clip(id="noise/l", corpus="noise", speaker="noise:l", emotion=None, kind="nonverbal_laughter"),
        made.clip(id="ami/0", corpus="ami", speaker="ami:0", emotion=None),
    ]
    return [*made.labelled_clips(1), *rated, *other]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache and a token store of made clips."""
    folder = tmp_path_factory.mktemp("head")
    cache = made.write_cache(folder / "cache", clips(), teacher_dim=0)
    made.write_store(folder / "tokens", cache, 2, 16)
    return folder / "cache", folder / "tokens"


@pytest.fixture(scope="module")
def data(folders: tuple[Path, Path]) -> HeadData:
    """What an untrained encoder makes of them."""
    torch.manual_seed(0)
    encoder = AudioEncoder(tiny.ENCODER, TOKENIZER)
    return gather(CONFIG, encoder, AudioCache(folders[0]), TokenStore(folders[1]))


@pytest.fixture(scope="module")
def sounds() -> SoundData:
    """Music, laughter and unlabelled speech, each with embeddings of its own."""
    rng = np.random.default_rng(0)
    names = HeadConfig().sounds
    kind = np.repeat([names.index(name) for name in ("speech", "laughter", "music")], 20)
    vectors = (
        np.eye(8, dtype=np.float32)[kind % 8] * 4 + rng.standard_normal((60, 8)).astype(np.float32) * 0.1
    )
    return SoundData(vectors, kind, np.full(60, 1 / 60))


def test_dimensions_come_from_the_circumplex_or_the_corpus() -> None:
    """A category gives both; a rated clip its arousal only; an unlabelled one nothing."""
    happy = made.clip(emotion="happy", corpus="ravdess")
    values, known = dimension_targets(target(happy), happy)
    valence, arousal = CIRCUMPLEX["happy"]
    assert values.tolist() == pytest.approx([arousal, valence])
    assert known.all()
    rated = made.clip(emotion=None, arousal=-0.7)
    values, known = dimension_targets(None, rated)
    assert values.tolist() == pytest.approx([-0.7, 0.0])
    assert known.tolist() == [True, False]
    assert not dimension_targets(None, made.clip(emotion=None))[1].any()


def test_listeners_votes_are_averaged_on_the_circumplex() -> None:
    """Half angry, half sad: half way between their places."""
    voted = made.clip(emotion=None, corpus="crema_d", votes={"angry": 2.0, "sad": 2.0})
    values, _ = dimension_targets(target(voted), voted)
    middle = (np.array(CIRCUMPLEX["angry"]) + np.array(CIRCUMPLEX["sad"])) / 2
    assert values[::-1].tolist() == pytest.approx(middle.tolist())


def test_what_is_gathered(data: HeadData) -> None:
    """28 labelled and 2 rated clips in two renderings."""
    assert data.table.vectors.shape == (2, 30, 8)
    assert data.table.category.tolist()[-2:] == [-1, -1]
    assert data.known[-1].tolist() == [True, False]
    assert not data.allowed[-1].any()
    assert data.weights.sum() == pytest.approx(1)
    assert data.weights[-2:].sum() == pytest.approx(0.1 / 1.1)


def test_rows_are_in_every_state(data: HeadData, sounds: SoundData) -> None:
    """Some cold, some on lines of 5 to 400 utterances; some with a leg of 1 to 24; and a step repeats."""
    batches = HeadBatches(data, sounds, CONFIG)
    lines = torch.cat([batches[step]["line_n"] for step in range(8)])
    legs = torch.cat([batches[step]["leg_n"] for step in range(8)])
    assert {float(n) for n in lines[lines > 0]} <= {float(n) for n in range(5, 401)}
    assert 0.2 < float((lines == 0).float().mean()) < 0.6
    assert 0.2 < float((legs > 0).float().mean()) < 0.6
    assert int(legs.max()) <= 24
    batch, again = batches[3], HeadBatches(data, sounds, CONFIG)[3]
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    without = batch["leg_n"] == 0
    assert not batch["leg_mean"][without].any()


def test_cold_rows_see_the_population(data: HeadData, sounds: SoundData) -> None:
    """Where nothing was heard the line is the population, whatever the corpus."""
    batch = HeadBatches(data, sounds, replace(CONFIG, cold_chance=1.0))[0]
    expected = torch.from_numpy(data.population.mean).expand_as(batch["line_mean"])
    torch.testing.assert_close(batch["line_mean"], expected)


def test_it_learns_all_of_its_outputs(data: HeadData, sounds: SoundData) -> None:
    """Categories, dimensions and kinds of sound get better in a few steps."""
    task = HeadTask(replace(CONFIG, rows=128), data, sounds)
    optimizer = torch.optim.AdamW([p for p in task.module.parameters() if p.requires_grad], lr=0.02)
    curve = []
    for step in range(60):
        torch.manual_seed(step)
        loss, figures = task.loss(task.batches[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        curve.append({name: float(value) for name, value in figures.items()})
    for name in ("labels", "dimensions", "sound"):
        assert np.mean([c[name] for c in curve[-5:]]) < 0.8 * np.mean([c[name] for c in curve[:5]])
    assert not task.module.leg_gain.requires_grad
    task.module.eval()
    heard = task.module.hear(torch.from_numpy(sounds.vectors)).argmax(dim=1).numpy()
    assert (heard == sounds.kind).mean() > 0.9


def test_the_stage_writes_head_and_population(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Weights, the population that lines are shrunk towards, configuration and log."""
    torch.manual_seed(0)
    train_head(CONFIG, AudioEncoder(tiny.ENCODER, TOKENIZER), tiny.tokenizer(), *folders, tmp_path)
    population = load_population(tmp_path, 10.0)
    assert population.mean.shape == population.var.shape == (8,)
    assert (population.var > 0).all()
    assert population.prior_n == 10.0
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8
    assert (tmp_path / "model.safetensors").exists()


def test_categories_and_circumplex_agree() -> None:
    """Every category has a place."""
    assert set(CIRCUMPLEX) == set(CATEGORIES)
