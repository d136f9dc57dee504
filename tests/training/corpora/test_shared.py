"""Where the shared corpora lie beside the checkout, the recipes' stated facts hold for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from training.corpora.labels import agrees_with_listeners, target
from training.corpora.registry import REGISTRY, prepare_corpora
from training.corpora.splits import check_speaker_disjoint

_ROOT = Path(__file__).parents[4] / "shared" / "corpora"

pytestmark = pytest.mark.skipif(
    not (_ROOT / "manifest.jsonl").exists(), reason="the shared corpora are not beside this checkout"
)


def test_all_corpora_are_read_and_split_by_speaker() -> None:
    """Counts match the corpora's own description."""
    clips = prepare_corpora(_ROOT, REGISTRY)
    check_speaker_disjoint(clips)
    counts = Counter(REGISTRY[clip.corpus].facts.manifest for clip in clips)
    assert sorted(counts.values()) == [445, 1296, 2524, 17561]
    without = Counter(clip.corpus for clip in clips if clip.emotion and target(clip) is None)
    assert without == {"emodb": 77}


def test_crema_d_agreement_is_as_stated() -> None:
    """34 % of the happy and 23 % of the sad clips were heard as meant."""
    clips = prepare_corpora(_ROOT, ["crema_d"])
    for emotion, share in (("happy", 0.34), ("sad", 0.23)):
        meant = [clip for clip in clips if clip.emotion == emotion]
        assert sum(map(agrees_with_listeners, meant)) / len(meant) == pytest.approx(share, abs=0.005)
