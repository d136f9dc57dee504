"""A run is read as it was made; what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models import tiny
from training.experiments.ledger import ExperimentError
from training.experiments.source import Source, audio_half, fingerprint


def test_sizes_come_from_the_run(source: Source) -> None:
    """Its own configuration counts, not today's defaults."""
    assert source.tokenizer() == tiny.TOKENIZER
    assert source.encoder().transformer == tiny.TRANSFORMER
    assert source.encoder().teacher_dim == 0
    assert source.autoencoder().encoder.teacher_dim == source.cache().teacher_dim


def test_what_is_missing_is_named(tmp_path: Path, run_folder: Path) -> None:
    """An empty folder, a stage that has not run, and a file that is no checkpoint."""
    with pytest.raises(ExperimentError, match=r"config\.json is missing"):
        Source(tmp_path)
    with pytest.raises(ExperimentError, match=r"distil/model\.safetensors is missing"):
        Source(run_folder).weights("distil")
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(ExperimentError, match="is not a checkpoint"):
        audio_half(tmp_path / "junk")
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ExperimentError, match="holds no audio encoder"):
        audio_half(tmp_path / "other.safetensors")


def test_fingerprints_tell_files_apart(tmp_path: Path) -> None:
    """Same bytes, same mark."""
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")
