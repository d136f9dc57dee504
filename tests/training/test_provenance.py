"""What a card says of sizes, stages and corpora is counted, not typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.audio_tokenizer import AudioTokenizer
from models.config import EncoderConfig, TokenizerConfig
from models.student import AudioEncoder
from tests.models import tiny
from tests.training import made
from tests.training.conftest import ROOT
from tests.training.corpora.builders import segment
from training import provenance
from training.config import load_config
from training.provenance import corpus_rows, served_parameters, stage_rows, token_perplexity
from training.run import STAGES
from training.run_config import RunConfig


def test_served_parameters_leave_out_what_only_training_needs() -> None:
    """Decoder and frame head are not exported; codebooks are."""
    tokenizer = tiny.tokenizer()
    everything = sum(p.numel() for p in tokenizer.parameters())
    decoder = sum(p.numel() for p in tokenizer.decoder.parameters())
    assert served_parameters(tokenizer) == everything - decoder + 2 * 16 * 6
    encoder = AudioEncoder(tiny.ENCODER, tiny.TOKENIZER)
    assert encoder.frame_head is not None
    head = sum(p.numel() for p in encoder.frame_head.parameters())
    assert served_parameters(encoder) == sum(p.numel() for p in encoder.parameters()) - head


@pytest.mark.parametrize("name", [None, "default.yaml"])
def test_the_student_is_small(name: str | None) -> None:
    """At most 5 million parameters together with its tokenizer: as coded, and as the shipped bundle is configured."""
    tokenizer, encoder = TokenizerConfig(), EncoderConfig()
    if name:
        config = load_config(ROOT / "training" / "configs" / "run" / name, RunConfig)
        tokenizer, encoder = config.tokenizer.model, config.pretrain.model.encoder
    total = served_parameters(AudioTokenizer(tokenizer)) + served_parameters(AudioEncoder(encoder, tokenizer))
    assert total <= 5_000_000


def test_stages_that_ran_are_listed_in_order() -> None:
    """With their steps where they have any, and their seconds."""
    rows = stage_rows({"head": 2.0, "prepare": 1.0}, {"head": 60})
    assert [(r["name"], r["steps"], r["seconds"]) for r in rows] == [
        ("prepare", None, 1.0),
        ("head", 60, 2.0),
    ]
    assert list(provenance.WHAT) == list(STAGES)


def test_corpora_say_what_they_served_for() -> None:
    """Labels, arousal, nothing, noise, or evaluation only."""
    clips = [
        segment(id="1", corpus="ravdess", split="train"),
        segment(id="2", corpus="ravdess", split="test"),
        segment(id="3", corpus="emodb", split="cross"),
        segment(id="4", corpus="baved", emotion=None, arousal=0.7),
        segment(id="5", corpus="ami", emotion=None),
        segment(id="6", corpus="noise", emotion=None, kind="music_jazz"),
        segment(id="7", corpus="crema_d", emotion=None, votes={"sad": 1.0}),
    ]
    used = {row["name"]: row["used_for"] for row in corpus_rows(clips)}
    assert used == {
        "ravdess": "labels (test, train)",
        "emodb": "evaluation only",
        "baved": "arousal, pretraining",
        "ami": "tokenizer and pretraining, no labels",
        "noise": "noise mixed in, and what is not speech (train)",
        "crema_d": "labels (train)",
    }


def test_codebook_use_is_measured(tmp_path: Path) -> None:
    """Clips of one category use two codes of each codebook in the made store."""
    cache = made.write_cache(tmp_path / "cache", [made.clip(), made.clip(id="b")], teacher_dim=0)
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    assert token_perplexity(store, [0, 1], 16) == pytest.approx([2.0, 2.0], abs=0.2)


def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No git, or no repository: `unknown`, never an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
    monkeypatch.setattr(provenance.shutil, "which", lambda name: None)
    assert provenance.commit() == "unknown"
