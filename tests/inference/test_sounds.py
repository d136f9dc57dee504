"""Kinds of sound: which event is named, what is said to be rejected, in any order of the kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bundle.manifest import SoundsSpec
from app.inference.sounds import SoundNames
from tests.support.tiny_bundle import SOUNDS

LOGITS = st.lists(st.floats(-60, 60, width=32), min_size=5, max_size=5)


def names(threshold: float = 0.5) -> SoundNames:
    """Speech, laughter, cough; music and noise are rejected."""
    return SoundNames(SoundsSpec.model_validate(SOUNDS | {"event_threshold": threshold}))


def test_an_event_is_named_from_its_threshold_on() -> None:
    """The likeliest event with its posterior among all kinds, or none."""
    sound = np.log(np.array([0.2, 0.6, 0.1, 0.05, 0.05], dtype=np.float32))
    assert names(0.7).event(sound) is None
    found = names(0.59).event(sound)
    assert found is not None
    assert found[0] == "laughter"
    assert found[1] == pytest.approx(0.6)


def test_the_likeliest_rejected_kind_is_told() -> None:
    """Speech and events don't matter to what it would have been."""
    assert names().rejected(np.array([9.0, 9.0, 9.0, 1.0, 2.0], dtype=np.float32)) == "noise"
    assert names().rejected(np.array([0.0, 0.0, 0.0, 3.0, 2.0], dtype=np.float32)) == "music"


def test_a_head_without_events_names_none() -> None:
    """Speech and music alone."""
    kinds = [{"name": "speech", "role": "speech"}, {"name": "music", "role": "rejected"}]
    plain = SoundNames(SoundsSpec.model_validate({"kinds": kinds, "event_threshold": 0.1}))
    assert plain.event(np.zeros(2, dtype=np.float32)) is None
    assert plain.rejected(np.zeros(2, dtype=np.float32)) == "music"


@given(logits=LOGITS, order=st.permutations(range(5)), threshold=st.floats(0.01, 1.0))
def test_the_order_of_the_kinds_does_not_matter(
    logits: list[float], order: list[int], threshold: float
) -> None:
    """Kinds and logits permuted alike give the same event, and never one below its threshold."""
    spec = SoundsSpec.model_validate(SOUNDS | {"event_threshold": threshold})
    moved = spec.model_copy(update={"kinds": [spec.kinds[i] for i in order]})
    sound = np.array(logits, dtype=np.float32)
    one, other = SoundNames(spec).event(sound), SoundNames(moved).event(sound[list(order)])
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one[1] == pytest.approx(other[1])
        assert threshold <= one[1] <= 1
        # A difference that the softmax cannot hold is a tie.
        assert one[0] == other[0] or abs(float(sound[1]) - float(sound[2])) < 1e-6
