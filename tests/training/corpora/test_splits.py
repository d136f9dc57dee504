"""Splits keep speakers apart and label shares are spread, nested and repeatable."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.corpora.builders import segment
from training.corpora.errors import SplitError
from training.corpora.manifest import Segment
from training.corpora.splits import (
    LABEL_SHARES,
    check_speaker_disjoint,
    check_trainable,
    hash_split,
    label_share,
    leave_one_speaker_out,
    select,
)


def _clips(speakers: int, each: int) -> list[Segment]:
    return [
        segment(id=f"r/{who}-{emotion}-{n}", speaker=f"ravdess:{who}", emotion=emotion)
        for who in range(speakers)
        for emotion in ("angry", "happy", "neutral")
        for n in range(each)
    ]


def test_hash_splits_are_near_their_shares_and_never_move() -> None:
    """About 70/10/20 over many speakers; pinned speakers show that the hash has not changed."""
    counts = Counter(hash_split(f"site:{n}") for n in range(2000))
    assert counts["train"] / 2000 == pytest.approx(0.7, abs=0.03)
    assert counts["dev"] / 2000 == pytest.approx(0.1, abs=0.03)
    assert {name: hash_split(name) for name in ("site:0", "site:4")} == {
        "site:0": "train",
        "site:4": "test",
    }


def test_a_torn_speaker_is_named() -> None:
    """The check goes across corpora and names the splits."""
    check_speaker_disjoint([segment(), segment(speaker="b", split="test")])
    with pytest.raises(SplitError, match=r"ravdess:01 \(dev, train\)"):
        check_speaker_disjoint([segment(), segment(split="dev")])


def test_select_keeps_order() -> None:
    """Several splits may be asked for at once."""
    clips = [segment(id=str(n), split=split) for n, split in enumerate(["test", "dev", "train", "dev"])]
    assert [clip.id for clip in select(clips, "dev", "test")] == ["0", "1", "3"]


@pytest.mark.parametrize("changes", [{"split": "test"}, {"split": "cross"}, {"corpus": "emodb"}])
def test_what_must_not_be_trained_on_is_refused(changes: dict[str, str]) -> None:
    """Test, dev and cross clips, and corpora kept for evaluation whatever their split says."""
    check_trainable([segment()])
    with pytest.raises(SplitError, match="must not be trained on"):
        check_trainable([segment(), segment(**changes)])


def test_label_shares_hold_their_size_and_are_nested() -> None:
    """Each share has ⌈share × clips⌉ of each category, and holds every smaller one."""
    clips = _clips(speakers=10, each=20)
    smaller: set[str] = set()
    for share, expected in zip(LABEL_SHARES, (2, 10, 20, 200), strict=True):
        chosen = label_share(clips, share)
        assert Counter(clip.emotion for clip in chosen) == dict.fromkeys(
            ("angry", "happy", "neutral"), expected
        )
        assert smaller <= {clip.id for clip in chosen}
        smaller = {clip.id for clip in chosen}


def test_label_shares_are_spread_over_speakers() -> None:
    """As many clips as speakers means one from each."""
    chosen = label_share(_clips(speakers=10, each=20), 0.05)
    happy = [clip.speaker for clip in chosen if clip.emotion == "happy"]
    assert len(happy) == len(set(happy)) == 10


def test_label_shares_repeat_and_differ_by_seed() -> None:
    """The order of the clips given does not matter, the seed does."""
    clips = _clips(speakers=5, each=10)
    first = {clip.id for clip in label_share(clips, 0.1)}
    assert first == {clip.id for clip in label_share(clips[::-1], 0.1)}
    assert first != {clip.id for clip in label_share(clips, 0.1, seed=1)}


def test_label_shares_leave_out_the_unlabelled() -> None:
    """A share of the labels has labels, in the order given."""
    clips = [segment(id="a"), segment(id="b", emotion=None), segment(id="c")]
    assert [clip.id for clip in label_share(clips, 1.0)] == ["a", "c"]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_must_be_a_share(share: float) -> None:
    """Nothing, less than nothing and more than everything are refused."""
    with pytest.raises(SplitError, match=r"must be in \(0, 1\]"):
        label_share([segment()], share)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.floats(0.001, 1))
def test_every_category_survives(speakers: list[str], share: float) -> None:
    """However small the share, each category that was there still is."""
    clips = [
        segment(id=str(n), speaker=who, emotion=("angry", "sad")[n % 2]) for n, who in enumerate(speakers)
    ]
    assert {c.emotion for c in label_share(clips, share)} == {c.emotion for c in clips}


def test_leave_one_speaker_out_covers_every_clip_once() -> None:
    """Each fold tests one speaker and trains on all others."""
    clips = _clips(speakers=3, each=1)
    folds = list(leave_one_speaker_out(clips))
    assert [speaker for speaker, _, _ in folds] == ["ravdess:0", "ravdess:1", "ravdess:2"]
    for speaker, rest, held_out in folds:
        assert {clip.speaker for clip in held_out} == {speaker}
        assert speaker not in {clip.speaker for clip in rest}
        assert len(rest) + len(held_out) == len(clips)
