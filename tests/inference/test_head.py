"""The head: what it is fed, what it gives, what it refuses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from app.bundle.loader import LoadedBundle
from app.bundle.manifest import HeadSpec, SoundsSpec
from app.inference.errors import InferenceError
from app.inference.head import Head
from app.inference.line_profile import LegContext
from app.ort import Array
from tests.inference.fakes import FakeSession
from tests.support.tiny_bundle import SOUNDS

EMBEDDING = np.arange(16, dtype=np.float32)
LINE = (np.ones(16, dtype=np.float32), np.full(16, 2.0, dtype=np.float32), 7)


def _outputs(_: Mapping[str, Array]) -> dict[str, Array]:
    return {
        "logits": np.array([[1.0, 2.0, 3.0, 4.0]], dtype=np.float32),
        "arousal": np.array([1.5], dtype=np.float32),
        "valence": np.array([-1.5], dtype=np.float32),
        "speech": np.array([3.0], dtype=np.float32),
    }


def test_the_graph_is_fed_line_and_leg(bundle: LoadedBundle) -> None:
    """Line statistics, leg mean and both counts reach the graph as float32 rows."""
    session = FakeSession(_outputs)
    leg = LegContext(3, np.full(16, 0.5))
    Head(session, bundle.manifest.heads["default"]).score(EMBEDDING, LINE, leg)
    feeds = session.feeds[0]
    assert {name: value.shape for name, value in feeds.items()} == {
        **dict.fromkeys(("embedding", "line_mean", "line_std", "leg_mean"), (1, 16)),
        **dict.fromkeys(("line_n", "leg_n"), (1,)),
    }
    assert all(value.dtype == np.float32 for value in feeds.values())
    assert (feeds["line_n"][0], feeds["leg_n"][0], feeds["leg_mean"][0, 0]) == (7.0, 3.0, 0.5)


def test_arousal_and_valence_stay_within_bounds(bundle: LoadedBundle) -> None:
    """A head that overshoots is clipped to [-1, 1]; logits and speech are left alone."""
    output = Head(FakeSession(_outputs), bundle.manifest.heads["default"]).score(
        EMBEDDING, LINE, LegContext.empty(16)
    )
    assert (output.arousal, output.valence, output.speech) == (1.0, -1.0, 3.0)
    assert output.logits.tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("name", ["logits", "arousal", "valence", "speech"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bundle: LoadedBundle, name: str, bad: float) -> None:
    """Any output that is not finite is an error naming it."""
    session = FakeSession(lambda feeds: _outputs(feeds) | {name: _outputs(feeds)[name] * bad})
    with pytest.raises(InferenceError, match=f"{name}: expected finite"):
        Head(session, bundle.manifest.heads["default"]).score(EMBEDDING, LINE, LegContext.empty(16))


def test_sounds_are_read_where_the_manifest_has_them(bundle: LoadedBundle) -> None:
    """A head with kinds of sound gives their logits, finite; one without is not asked."""
    spec = bundle.manifest.heads["default"]
    heard = spec.model_copy(update={"sounds": SoundsSpec.model_validate(SOUNDS)})
    sound = np.arange(5, dtype=np.float32)[np.newaxis]

    def score(spec: HeadSpec, sound: Array) -> Array | None:
        session = FakeSession(lambda feeds: _outputs(feeds) | {"sound": sound})
        return Head(session, spec).score(EMBEDDING, LINE, LegContext.empty(16)).sound

    assert score(spec, sound) is None
    found = score(heard, sound)
    assert found is not None
    assert found.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InferenceError, match="sound: expected finite"):
        score(heard, sound * np.nan)


def test_a_failed_run_is_told(bundle: LoadedBundle) -> None:
    """An embedding of another width fails as the head's error."""
    head = Head(bundle.heads["default"], bundle.manifest.heads["default"])
    with pytest.raises(InferenceError, match="head: graph run failed"):
        head.score(EMBEDDING[:3], LINE, LegContext.empty(16))


def test_line_and_leg_change_the_answer(bundle: LoadedBundle) -> None:
    """The real graph's logits depend on the line's statistics and on the leg's past."""
    head = Head(bundle.heads["default"], bundle.manifest.heads["default"])
    plain = head.score(EMBEDDING, LINE, LegContext.empty(16)).logits
    other_line = head.score(EMBEDDING, (LINE[0] * 2, LINE[1], 7), LegContext.empty(16)).logits
    with_leg = head.score(EMBEDDING, LINE, LegContext(3, np.ones(16))).logits
    assert not np.array_equal(plain, other_line)
    assert not np.array_equal(plain, with_leg)
