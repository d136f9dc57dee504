"""The video tokenizer stage: its loss falls on made faces, it resumes, and it wants faces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.config import VideoTokenizerConfig
from models.video_tokenizer import VideoTokenizer
from tests.training import made, made_faces
from training.checkpoint import load_weights
from training.engine import LoopConfig
from training.train_video_tokenizer import (
    VideoTokenizerStageConfig,
    difference,
    train_video_tokenizer,
)

CONFIG = VideoTokenizerStageConfig(
    model=VideoTokenizerConfig(channels=(8, 8, 16), codebook_size=16, code_dim=4),
    loop=LoopConfig(
        steps=30,
        learning_rate=5e-3,
        warmup=2,
        save_every=15,
        log_every=1,
        precision="fp32",
        threads=1,
        workers=0,
    ),
    pairs=8,
)


def test_pictures_are_learned(tmp_path: Path) -> None:
    """The error falls by a third within a few steps, and the weights are those of the configuration."""
    made_faces.write_cache(tmp_path / "cache")
    train_video_tokenizer(CONFIG, tmp_path / "cache", tmp_path / "out")
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert set(log[0]) == {"step", "loss", "rebuild", "motion", "commitment", "codes"}
    assert log[-1]["rebuild"] < 0.67 * log[0]["rebuild"]
    load_weights(VideoTokenizer(CONFIG.model), tmp_path / "out" / "model.safetensors")


def test_a_stage_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Run to 15 of 30 steps and started again, it logs the very curve of an uninterrupted run."""
    made_faces.write_cache(tmp_path / "cache")
    curves = []
    for name, stops in (("whole", (4,)), ("parts", (2, 4))):
        for steps in stops:
            loop = replace(CONFIG.loop, steps=steps, save_every=2, warmup=1000)
            train_video_tokenizer(replace(CONFIG, loop=loop), tmp_path / "cache", tmp_path / name)
        lines = (tmp_path / name / "log.jsonl").read_text().splitlines()
        curves.append([json.loads(line)["step"] for line in lines])
    assert curves[0] == curves[1] == [1, 2, 3, 4]


def test_a_cache_without_faces_is_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    made.write_cache(tmp_path / "cache", [made.clip()])
    with pytest.raises(ValueError, match="no clip has faces"):
        train_video_tokenizer(CONFIG, tmp_path / "cache", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_differences_are_within_pairs() -> None:
    """The second of each pair minus the first."""
    pictures = torch.tensor([1.0, 4.0, 10.0, 12.0]).reshape(4, 1, 1, 1)
    assert difference(pictures).flatten().tolist() == [3.0, 2.0]
