"""Trouble: the same for a seed, and no message comes from nowhere or goes without being counted."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.emulators.base import Message
from app.emulators.trouble import NO_TROUBLE, Key, Network, Stretch, Trouble, parse_key, parse_pause

SHARES = st.sampled_from([0.0, 0.01, 0.2, 0.7, 1.0])
TROUBLES = st.builds(
    Trouble,
    loss=SHARES,
    reorder=SHARES,
    duplicate=SHARES,
    jitter_s=st.sampled_from([0.0, 0.04]),
    seed=st.integers(0, 1 << 32),
)
# Frames of no message (a carrier that gathers), one, or one for each of two tracks.
WIDTHS = st.lists(st.integers(0, 2), max_size=60)


def slots(widths: list[int]) -> list[list[Message]]:
    """Messages that say their frame and track."""
    return [[f"{frame}/{track}" for track in range(width)] for frame, width in enumerate(widths)]


def carried(network: Network, frames: list[list[Message]]) -> list[Message]:
    """All that arrives, in order."""
    return [message for frame in frames for message in network.carry(frame)] + network.flush()


@given(TROUBLES, WIDTHS)
def test_the_same_seed_is_the_same_trouble(trouble: Trouble, widths: list[int]) -> None:
    """Twice the same call, twice the same arrival; delays too."""
    first, second = Network(trouble, "a"), Network(trouble, "a")
    assert carried(first, slots(widths)) == carried(second, slots(widths))
    assert [first.delay_s() for _ in widths] == [second.delay_s() for _ in widths]
    assert first.tally == second.tally


@given(TROUBLES, WIDTHS)
def test_every_message_is_accounted_for(trouble: Trouble, widths: list[int]) -> None:
    """What arrives is what was given, without the lost and with the doubled."""
    network = Network(trouble)
    given_messages = [message for slot in slots(widths) for message in slot]
    arrived = Counter(carried(network, slots(widths)))
    tally = network.tally
    assert tally.given == len(given_messages)
    assert tally.sent == sum(arrived.values()) == tally.given - tally.lost + tally.duplicated
    assert set(arrived) <= set(given_messages)
    assert set(arrived.values()) <= {1, 2}
    assert len(given_messages) - len(arrived) == tally.lost
    assert sum(count - 1 for count in arrived.values()) == tally.duplicated


@given(TROUBLES, WIDTHS)
def test_frames_change_places_with_their_neighbours_only(trouble: Trouble, widths: list[int]) -> None:
    """Among frames that have messages none moves by more than one place, and the messages of one stay together."""
    network = Network(trouble)
    arrived = [str(message).split("/")[0] for message in carried(network, slots(widths))]
    order = list(dict.fromkeys(arrived))
    full = [str(frame) for frame, width in enumerate(widths) if width]
    runs = 1 + sum(a != b for a, b in itertools.pairwise(arrived)) if arrived else 0
    assert runs == len(order)
    for place, frame in enumerate(order):
        behind = [other for other in order[place + 1 :] if full.index(other) < full.index(frame)]
        assert len(behind) <= 1
        assert all(full.index(frame) - full.index(other) == 1 for other in behind)


@given(WIDTHS)
def test_no_trouble_changes_nothing(widths: list[int]) -> None:
    """Every frame comes out as it went in, at once and on time."""
    network = Network(NO_TROUBLE)
    assert [network.carry(slot) for slot in slots(widths)] == slots(widths)
    assert network.flush() == []
    assert network.delay_s() == 0.0


@given(st.integers(0, 1000))
def test_kinds_of_trouble_do_not_depend_on_each_other(seed: int) -> None:
    """More jitter, duplicates or reordering does not change what is lost."""
    frames = slots([2] * 50)
    lossy = carried(Network(Trouble(loss=0.3, seed=seed)), frames)
    worse = Network(Trouble(loss=0.3, reorder=0.5, duplicate=0.3, jitter_s=0.1, seed=seed))
    assert set(carried(worse, frames)) == set(lossy)


def test_connections_of_one_call_have_chances_of_their_own() -> None:
    """Two legs on two connections do not lose the same frames."""
    frames = slots([1] * 200)
    trouble = Trouble(loss=0.5)
    customer, agent = (carried(Network(trouble, leg), frames) for leg in ("customer", "agent"))
    assert customer != agent


def test_the_shares_are_what_was_asked_for() -> None:
    """Over many messages."""
    network = Network(Trouble(loss=0.1, reorder=0.2, duplicate=0.05, jitter_s=0.04))
    carried(network, slots([1] * 20_000))
    tally = network.tally
    assert tally.lost == pytest.approx(2_000, rel=0.1)
    assert tally.duplicated == pytest.approx(900, rel=0.15)
    # One in five of the frames that are not themselves overtaking.
    assert tally.swapped == pytest.approx(20_000 / 6 * 0.81, rel=0.1)
    delays = [network.delay_s() for _ in range(1000)]
    assert 0 <= min(delays) < 0.01 < 0.03 < max(delays) <= 0.04


def test_a_frame_waits_for_the_next_one_only() -> None:
    """A swap is: nothing, then the next frame, then the one that waited."""
    network = Network(Trouble(reorder=1.0))
    assert network.carry(["a0", "a1"]) == []
    assert network.carry([]) == []
    assert network.carry(["b0", "b1"]) == ["b0", "b1", "a0", "a1"]
    assert network.carry(["c"]) == []
    assert network.flush() == ["c"]
    assert network.tally.swapped == 1


def test_the_schedule_is_in_frames() -> None:
    """Pauses from their begin up to their end, keys and the cut at the frame of their time."""
    trouble = Trouble(
        pauses=(Stretch(1.0, 0.1), Stretch(1.06, 0.1)), keys=(Key(2.0, "5"), Key(2.0, "#")), drop_at_s=3.0
    )
    assert [frame for frame in range(200) if trouble.paused_at(frame)] == list(range(50, 58))
    assert {frame: trouble.keys_at(frame) for frame in range(200) if trouble.keys_at(frame)} == {
        100: ["5", "#"]
    }
    assert [frame for frame in range(200) if trouble.cut_at(frame)] == [150]
    assert not any(NO_TROUBLE.paused_at(n) or NO_TROUBLE.keys_at(n) or NO_TROUBLE.cut_at(n) for n in range(9))


def test_pauses_and_keys_are_read() -> None:
    """As on the command line."""
    assert parse_pause("12:8") == Stretch(12.0, 8.0)
    assert parse_pause("0:0.5") == Stretch(0.0, 0.5)
    assert parse_key("5.0:1") == Key(5.0, "1")
    assert parse_key("0:#") == Key(0.0, "#")


@pytest.mark.parametrize("text", ["", "12", "12:", ":8", "12:0", "-1:2", "nan:1", "1:inf", "a:b"])
def test_a_pause_of_another_form_is_refused(text: str) -> None:
    """With a message that says what is meant."""
    with pytest.raises(ValueError, match=r"expected|convert"):
        parse_pause(text)


@pytest.mark.parametrize("text", ["", "5", "5:", "5:12", "5:x", ":1", "-5:1", "inf:1"])
def test_a_key_of_another_form_is_refused(text: str) -> None:
    """With a message that says what is meant."""
    with pytest.raises(ValueError, match=r"expected|convert"):
        parse_key(text)
