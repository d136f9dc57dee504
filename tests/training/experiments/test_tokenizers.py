"""The tokenizer experiment: quantisers of like budget, described and probed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from models.config import TokenizerConfig
from models.quantizer import bits_per_second
from tests.models import tiny
from tests.training.experiments.tiny_run import STAGE, TEACHER_DIM, loop
from training.experiments.ledger import Ledger
from training.experiments.source import Source
from training.experiments.tokenizers import (
    CONTINUOUS,
    REFERENCE,
    Continuous,
    Tokenizers,
    TokenizersSettings,
    describe,
    variants,
)
from training.train_tokenizer import LearnedTokenizer

SETTINGS = TokenizersSettings(loop=loop(2), budget_frames=80, described=4)


def test_variants_have_like_bit_rates() -> None:
    """At two, four and eight groups the finite scalars cost what the residual codebooks do, to 2 %."""
    found = variants(TokenizerConfig())
    for groups in (2, 4, 8):
        rates = [
            bits_per_second([found[name].codebook_size] * found[name].codebooks)
            for name in (f"rvq_{groups}x256", f"fsq_{groups}x240")
        ]
        assert math.isclose(*rates, rel_tol=0.02)
    assert {config.stem_channels for config in found.values()} == {TokenizerConfig().stem_channels}


@pytest.mark.parametrize("name", [REFERENCE, "fsq_2x240", CONTINUOUS])
def test_an_arm_is_trained_described_and_probed(source: Source, tmp_path: Path, name: str) -> None:
    """Every kind gives answers on dev speakers; only what has tokens has a bit rate."""
    ledger = Ledger(Tokenizers(source, SETTINGS), tmp_path)
    ledger.conduct([name])
    (row,) = ledger.summarise()["arms"]
    assert 0 <= row["uar"]["made7"]["value"] <= 1
    figures = row["figures"]
    assert {"rebuild_l1", "uar_of_codes", "frame_error"} <= set(figures)
    assert ("bits_per_second" in figures) == (name != CONTINUOUS)
    if name != CONTINUOUS:
        assert len(figures["perplexity"]) == variants(tiny.TOKENIZER)[name].codebooks
        assert figures["used_bits_per_second"] <= figures["bits_per_second"]


def test_without_a_quantiser_vectors_go_on() -> None:
    """The continuous stand-in changes nothing, and commits to nothing."""
    vectors = torch.randn(2, tiny.TOKENIZER.code_dim, 5)
    out = Continuous(tiny.TOKENIZER)(vectors, torch.ones(2, 5, dtype=torch.bool))
    assert torch.equal(out.vectors, vectors)
    assert float(out.commitment) == 0


def test_features_do_not_depend_on_the_batch(source: Source) -> None:
    """A clip has the same features alone and among longer ones."""
    torch.manual_seed(0)
    module, cache = LearnedTokenizer(STAGE, TEACHER_DIM).eval(), source.cache()
    together = describe(module, cache, [0, 5, 9])
    alone = describe(module, cache, [0])
    torch.testing.assert_close(
        torch.from_numpy(together.codes[0]), torch.from_numpy(alone.codes[0]), rtol=1e-4, atol=1e-4
    )
