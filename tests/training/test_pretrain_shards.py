"""Pretraining out of shards: a run of its own, one that was killed, and two processes that torchrun started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from models.config import MaeConfig, VideoConfig
from tests.models import tiny
from tests.training import made, made_faces
from tests.training.together import ROOT
from training.checkpoint import save_weights
from training.data.av_batches import AvBatchConfig
from training.data.shard_files import ShardError, Shards
from training.data.token_batches import TokenBatchConfig
from training.engine import LoopConfig
from training.pretrain import PretrainConfig
from training.pretrain_shards import main, pretrain_from_shards
from training.shards import write_shards
from training.train_tokenizer import LearnedTokenizer, TokenizerStageConfig

LOOP = LoopConfig(
    steps=6, warmup=2, save_every=2, log_every=1, precision="fp32", threads=1, workers=0, accumulate=2
)
TEACHED = replace(tiny.ENCODER, teacher_dim=made.TEACHER_DIM)
CONFIG = PretrainConfig(
    model=MaeConfig(TEACHED, VideoConfig(codebook_size=8, grid=3, layers=1), mask_span=2),
    loop=LOOP,
    batches=TokenBatchConfig(budget_frames=120, max_frames=20),
    faces=AvBatchConfig(max_frames=12),
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
STAGE = TokenizerStageConfig(model=tiny.TOKENIZER, encoder=tiny.ENCODER)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of clips with faces and without, with the weights of an untrained tokenizer."""
    folder = tmp_path_factory.mktemp("shards")
    clips = [*made_faces.clips(), *made.labelled_clips()]
    cache = made_faces.write_cache(folder / "cache", clips)
    made.write_store(folder / "tokens", cache, tiny.TOKENIZER.codebooks, tiny.TOKENIZER.codebook_size)
    made_faces.write_tokens(folder / "tokens", cache)
    torch.manual_seed(0)
    save_weights(LearnedTokenizer(STAGE, made.TEACHER_DIM), folder / "tokenizer.safetensors")
    write_shards(
        folder / "cache", folder / "tokens", folder / "shards",
        shard_bytes=40_000, tokenizer=folder / "tokenizer.safetensors",
    )  # fmt: skip
    return folder / "shards"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's configuration with the stage as it is here."""
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    stages = {"tokenizer": asdict(STAGE), "pretrain": asdict(CONFIG)}
    path.write_text(yaml.safe_dump(json.loads(json.dumps(stages))))
    return path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, shards: Path, config: Path) -> Path:
    """What the command line makes in one process that accumulates two micro-batches."""
    out = tmp_path_factory.mktemp("alone") / "out"
    given = ["--config", str(config), "--shards", str(shards), "--out", str(out)]
    assert main(given) == 0
    return out


def figures(folder: Path) -> list[dict[str, float]]:
    """The log of a run."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_trains_on_sound_and_faces(alone: Path) -> None:
    """The loss falls; some batches had video; the configuration that was trained is kept."""
    log = figures(alone)
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["tokens"] < log[0]["tokens"]
    assert any("video_tokens" in row for row in log)
    assert json.loads((alone / "config.json").read_text())["model"]["encoder"]["teacher_dim"] == 3
    assert "audio.frame_head.weight" in load_file(alone / "model.safetensors")


def test_a_run_goes_on(alone: Path, shards: Path, tmp_path: Path) -> None:
    """Stopped after its checkpoint of step 4 it ends at the same weights: batches are found by their number."""
    start = LearnedTokenizer(STAGE, made.TEACHER_DIM)
    tokenizer = Shards(shards).tokenizer
    assert tokenizer is not None
    start.load_state_dict(load_file(tokenizer))
    pretrain_from_shards(CONFIG, tiny.TOKENIZER, start, shards, tmp_path)
    assert figures(tmp_path) == figures(alone)
    whole = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    state = json.loads((tmp_path / "state" / "state.json").read_text())
    assert state["step"] == 6
    assert all(
        torch.equal(value, whole[name]) for name, value in load_file(alone / "model.safetensors").items()
    )


@pytest.mark.slow
def test_torchrun(alone: Path, shards: Path, config: Path, tmp_path: Path) -> None:
    """Two processes with one micro-batch each come to the weights of one with two, within 1e-5."""
    halved = yaml.safe_load(config.read_text())
    halved["pretrain"]["loop"]["accumulate"] = 1
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(halved))
    given = ["--config", str(tmp_path / "run.yaml"), "--shards", str(shards), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, *TORCHRUN, "-m", "training.pretrain_shards", *given],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for row, same in zip(figures(alone), figures(tmp_path / "out"), strict=True):
        assert same == pytest.approx(row, rel=1e-4)
    one, other = (load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "out"))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_shards_of_other_tokens_are_refused(shards: Path, tmp_path: Path) -> None:
    """Another number of codebooks, or of codes; another grid of video; nothing is written."""
    more = replace(tiny.TOKENIZER, codebooks=3)
    with pytest.raises(ShardError, match="holds 2 codebooks with tokens up to 15, expected 3 of 16 codes"):
        pretrain_from_shards(CONFIG, more, None, shards, tmp_path)
    video = replace(CONFIG, model=replace(CONFIG.model, video=VideoConfig(codebook_size=8, grid=4)))
    with pytest.raises(ShardError, match="holds video of 3 tokens a picture of 8 codes, expected 4 of 8"):
        pretrain_from_shards(video, tiny.TOKENIZER, None, shards, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_done_is_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No shards: exit code 2."""
    given = ["--config", str(config), "--shards", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(given) == 2
    assert capsys.readouterr().err.startswith("error: ")
