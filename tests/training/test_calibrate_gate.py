"""The gate on dev: every kind its own threshold, no more speech lost than allowed, events named when they are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.config import HeadConfig
from models.heads import LineRelativeHead
from models.student import AudioEncoder
from tests.models import tiny
from tests.training import made
from training.calibrate_gate import (
    NEVER,
    Heard,
    choose_gate,
    choose_shifts,
    event_threshold,
    hear_dev,
    holds_shifts,
    judge,
    least_shift,
)

CONFIG = HeadConfig(hidden=6, events=("laughter",), rejected=("music", "prompt"))
SPEECH, LAUGHTER, MUSIC = range(3)


def heard(over: npt.NDArray[np.float32], corpus: list[str], music: list[float]) -> Heard:
    """Speech whose music and prompt logits exceed it by `over` [N, 2]; music that exceeds speech by so much."""
    speech = np.column_stack([np.zeros(len(over)), np.full(len(over), -50.0), over])
    other = np.array([[0.0, -50.0, value, -20.0] for value in music]).reshape(-1, 4)
    kind = np.array([SPEECH] * len(over) + [MUSIC] * len(music))
    return Heard(
        np.concatenate([speech, other]).astype(np.float32), kind, np.array(corpus + [""] * len(music))
    )


def spread(rows: int, low: float, high: float, seed: int) -> npt.NDArray[np.float32]:
    """Even values in random order."""
    values = np.linspace(low, high, rows, dtype=np.float32)
    return np.random.default_rng(seed).permutation(values)


def test_a_kind_with_examples_is_cut_half_way() -> None:
    """Between the speech that may be lost and the top of its own examples; where they overlap, at the former."""
    over = np.column_stack([spread(400, -10, -4, 0), np.full(400, -30.0, np.float32)])
    apart = choose_shifts(CONFIG, heard(over, ["a"] * 400, [6.0] * 20), 0.02, 1.0)
    assert apart[0] == pytest.approx((-4 + 6) / 2, abs=0.1)
    within = choose_shifts(CONFIG, heard(over, ["a"] * 400, [-8.0] * 20), 0.02, 1.0)
    assert within[0] == pytest.approx(-4, abs=0.1)


def test_a_kind_without_examples_is_cut_as_trained() -> None:
    """Where it is likelier than speech, but never at more than the loss that is left."""
    far = np.column_stack([np.full(400, -30.0, np.float32), spread(400, -10, -4, 0)])
    assert choose_shifts(CONFIG, heard(far, ["a"] * 400, []), 0.02, 1.0)[1] == 0.0
    near = np.column_stack([np.full(400, -30.0, np.float32), spread(400, -10, 4, 0)])
    data = heard(near, ["a"] * 400, [])
    shift = choose_shifts(CONFIG, data, 0.02, 1.0)
    assert shift[1] > 3
    assert judge(CONFIG, data, shift)[0].mean() == pytest.approx(0.02)


def test_no_corpus_pays_for_the_others() -> None:
    """A corpus of calm voices bounds the prompts' threshold for all; one clip of it is always allowed."""
    over = np.column_stack([np.full(400, -30.0, np.float32), np.full(400, -10.0, np.float32)])
    over[:20, 1] = np.linspace(2, 6, 20)
    corpus = ["read"] * 20 + ["b"] * 380
    shift = choose_shifts(CONFIG, heard(over, corpus, []), 0.05, 0.04)
    rejected, _, _ = judge(CONFIG, heard(over, corpus, []), shift)
    assert rejected.sum() == 1


@given(
    values=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=60),
    loss=st.floats(0, 1),
    corpus_loss=st.floats(0, 1),
)
def test_never_more_is_lost_than_allowed(values: list[float], loss: float, corpus_loss: float) -> None:
    """Whatever the values, ties too: the shares hold, of all and of each corpus."""
    array = np.array(values, np.float32)
    corpus = np.array(["ab"[i % 2] for i in range(len(array))])
    lost = array > least_shift(array, np.zeros(len(array), np.bool_), corpus, loss, corpus_loss)
    assert lost.sum() <= loss * len(array) + 1e-6
    for name in "ab":
        count = int((corpus == name).sum())
        assert lost[corpus == name].sum() <= max(1, corpus_loss * count + 1e-6)


def test_what_is_lost_already_counts() -> None:
    """The share is of all kinds together."""
    values = np.arange(10, dtype=np.float32)
    lost = np.zeros(10, np.bool_)
    lost[0] = True
    assert least_shift(values, lost, np.array(["a"] * 10), 0.2, 1.0) == 8.0
    assert least_shift(values, ~lost | lost, np.array(["a"] * 10), 0.2, 1.0) == 0.0


def test_events_are_named_when_they_are_mostly_right() -> None:
    """The least posterior with the precision; the best there is where it can't be had; never without examples."""
    named = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], np.float32)
    right = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], np.bool_)
    assert event_threshold(named, right, 0.9) == pytest.approx(0.1)
    assert event_threshold(named, right, 0.95) == pytest.approx(0.2)
    half = np.array([1, 0, 1, 0, 1, 0, 1, 0, 1, 0], np.bool_)
    assert event_threshold(named, half, 0.9) == pytest.approx(0.6)
    assert event_threshold(named, ~right & right, 0.9) == NEVER
    assert event_threshold(named[:3], right[:3], 0.9) == NEVER


def test_what_is_rejected_names_no_event() -> None:
    """The gate comes first, as in the service; a right event is told from a wrong one."""
    sound = np.array([[0, 5, -9, -9], [0, 5, 9, -9], [5, 0, -9, -9]], np.float32)
    data = Heard(sound, np.array([LAUGHTER, LAUGHTER, SPEECH]), np.array(["", "", "a"]))
    rejected, named, right = judge(CONFIG, data, np.zeros(2, np.float32))
    assert rejected.tolist() == [False, True, False]
    assert named[0] > 0.9
    assert named[1] == 0.0
    assert named[2] < 0.1
    assert right.tolist() == [True, True, False]


def test_the_choice_is_set_in_the_head_and_told(tmp_path: Path) -> None:
    """From tokens: shifts in place, figures of what it costs; asked again the shifts don't add up."""
    clips = made.labelled_clips(2)
    laugh = made.clip(
        id="noise/l", corpus="noise", speaker="noise:l", emotion=None, kind="nonverbal_laughing", split="dev"
    )
    cache = made.write_cache(tmp_path / "cache", [*clips, laugh], teacher_dim=0)
    store = made.write_store(tmp_path / "tokens", cache, 2, 16)
    torch.manual_seed(0)
    encoder = AudioEncoder(tiny.ENCODER, tiny.TOKENIZER)
    head = LineRelativeHead(CONFIG, 8, 7)
    data = hear_dev(head, encoder, cache, store)
    assert data.kind.tolist().count(SPEECH) == 14
    assert data.kind.tolist().count(LAUGHTER) == 3
    chosen = choose_gate(head, data, speech_loss=0.1, corpus_loss=0.1)
    assert holds_shifts(head, chosen.shift)
    assert not holds_shifts(head, [value + 1 for value in chosen.shift])
    assert chosen.dev["rejected_speech"] <= 0.1
    assert chosen.dev["rejected_speech"] == chosen.dev["rejected_speech_worst_corpus"]
    again = hear_dev(head, encoder, cache, store)
    np.testing.assert_allclose(again.sound, data.sound, atol=1e-5)


def test_events_are_kept_from_the_rejected_kinds() -> None:
    """Laughter that is like music bounds music's threshold, whatever speech would allow."""
    over = np.column_stack([np.full(400, -30.0, np.float32), np.full(400, -30.0, np.float32)])
    speech = heard(over, ["a"] * 400, [6.0] * 20)
    laughs = np.tile(np.array([0, 5, 12, -9], np.float32), (20, 1))
    data = Heard(
        np.concatenate([speech.sound, laughs]),
        np.concatenate([speech.kind, np.full(20, LAUGHTER)]),
        np.concatenate([speech.corpus, np.full(20, "")]),
    )
    shift = choose_shifts(CONFIG, data, 0.02, 1.0)
    rejected, _, _ = judge(CONFIG, data, shift)
    assert shift[0] == pytest.approx(7.0, abs=0.1)
    assert not rejected[data.kind == LAUGHTER].any()
