"""The masking experiment: each arm changes what it says, and is probed from the sound alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.mae import MaskedAutoencoder
from tests.models import tiny
from tests.training import made, made_faces
from tests.training.experiments.tiny_run import loop
from training.data.cache import CacheWriter, Clip
from training.data.token_batches import TokenBatchConfig
from training.experiments.ledger import Ledger
from training.experiments.masking import (
    COMMON,
    REFERENCE,
    SOUND_ARMS,
    VIDEO_ARMS,
    Masking,
    MaskingSettings,
    guessing_loss,
    token_features,
)
from training.experiments.source import Source, audio_half

SETTINGS = MaskingSettings(loop=loop(2), batches=TokenBatchConfig(200, 20), described=4)


def test_every_arm_differs_from_the_first(source: Source) -> None:
    """No arm is run twice under two names, and each is compared with the first."""
    arms = Masking(source, SETTINGS).arms()
    assert [arm.name for arm in arms] == list(SOUND_ARMS)
    assert len({tuple(sorted((k, str(v)) for k, v in arm.config.items())) for arm in arms}) == len(arms)
    assert {arm.against for arm in arms[1:]} == {REFERENCE}
    assert all(set(changes) <= set(COMMON) for changes in [*SOUND_ARMS.values(), *VIDEO_ARMS.values()])


def test_arms_are_trained_and_probed(source: Source, tmp_path: Path) -> None:
    """Arms that learned to guess have a loss of hidden tokens; all leave a checkpoint to fine-tune from."""
    ledger = Ledger(Masking(source, SETTINGS), tmp_path)
    ledger.conduct([REFERENCE, "tokens_only", "frames_only", "untrained", "from_tokenizer"])
    rows = {row["name"]: row for row in ledger.summarise()["arms"]}
    assert list(rows) == [REFERENCE, "tokens_only", "frames_only", "from_tokenizer", "untrained"]
    assert rows[REFERENCE]["figures"]["hidden_token_nats"] > 0
    assert rows["untrained"]["figures"] == rows["frames_only"]["figures"] == {}
    assert set(rows["tokens_only"]["difference"]) == {"made7"}
    taken = audio_half(tmp_path / "masking" / "tokens_only" / "0" / "model.safetensors")
    assert "embed.tables.weight" in taken


@pytest.mark.parametrize("name", ["audiovisual_coupled", "audiovisual_without_contrast"])
def test_faces_are_looked_at_where_there_are_any(run_folder: Path, tmp_path: Path, name: str) -> None:
    """Video tokens beside the audio tokens bring the audiovisual arms, sized by the tokens."""
    copied = shutil.copytree(run_folder, tmp_path / "run")
    faced = [replace(clip, emotion=None) for clip in made_faces.clips(9_600)[1:]]
    clips = [*made.labelled_clips(), *faced]
    shutil.rmtree(copied / "prepare")
    write_faced_cache(copied / "prepare", clips)
    cache = Source(copied).cache()
    made.write_store(copied / "tokenise", cache, tiny.TOKENIZER.codebooks, tiny.TOKENIZER.codebook_size)
    made_faces.write_tokens(copied / "tokenise", cache, grid=4)
    experiment = Masking(Source(copied), replace(SETTINGS, loop=loop(8)))
    assert [arm.name for arm in experiment.arms()] == [*SOUND_ARMS, *VIDEO_ARMS]
    arm = next(arm for arm in experiment.arms() if arm.name == name)
    folder = tmp_path / "out" / "0"
    outcome = experiment.work(arm, 0, folder)
    assert set(outcome.answers) == {"made7"}
    logged = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert any("video_tokens" in line for line in logged)
    assert any("video_tokens" not in line for line in logged)


def write_faced_cache(folder: Path, clips: list[Clip]) -> None:
    """A cache with teacher frames as wide as the tiny encoder predicts; faces are noise."""
    writer = CacheWriter(folder, tiny.ENCODER.teacher_dim)
    for number, clip in enumerate(clips):
        offset, frame_offset = writer.position
        faced = clip.face_offset >= 0
        placed = replace(
            clip,
            offset=offset,
            frame_offset=-1 if clip.kind else frame_offset,
            face_offset=writer.face_position if faced else -1,
        )
        heard = None if clip.kind else np.zeros((clip.frames, tiny.ENCODER.teacher_dim), np.float16)
        seen = np.zeros((clip.frames, 96, 96), np.uint8) if faced else None
        writer.append(placed, made.speechlike(clip.samples, number), heard, seen)
    writer.close()


def test_features_and_guesses_are_of_whole_clips(source: Source) -> None:
    """Padding beside longer clips changes neither features nor the loss of hidden tokens in kind."""
    torch.manual_seed(0)
    model, store = MaskedAutoencoder(tiny.MAE, tiny.TOKENIZER).eval(), source.store()
    together = token_features(model.audio, store, [0, 1, 13])
    alone = token_features(model.audio, store, [0])
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-4, atol=1e-5)
    assert guessing_loss(model, store, [0, 1, 13]) == pytest.approx(np.log(16), rel=0.3)
