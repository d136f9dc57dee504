"""Buckets, places and patience: what is let through, and that none of it grows without end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.limits import Buckets, Guard, Patience, Places, Rate

steps = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 20)), max_size=60)
rates = st.builds(Rate, st.floats(0.1, 100), st.floats(1, 100))


@given(rates, steps)
def test_a_bucket_gives_its_burst_and_its_rate_and_no_more(
    rate: Rate, attempts: list[tuple[float, float]]
) -> None:
    """Over any stretch from the start: at most burst + rate × time; who is told to wait gets it after that time."""
    buckets, now, given_out = Buckets(), 50.0, 0.0
    for wait_s, amount in attempts:
        now += wait_s
        taken = buckets.take("k", rate, amount, now)
        if taken.allowed:
            given_out += amount
            assert taken.retry_after_s == 0
        else:
            assert taken.retry_after_s > 0
            later = now + taken.retry_after_s * (1 + 1e-9) + 1e-6
            if amount <= rate.burst:
                now = later
                assert buckets.take("k", rate, amount, now).allowed
                given_out += amount
        assert 0 <= taken.remaining <= rate.burst
        assert given_out <= rate.burst + rate.per_s * (now - 50.0) + 1e-6


@given(rates, steps)
def test_an_overdrawn_bucket_pays_back(rate: Rate, attempts: list[tuple[float, float]]) -> None:
    """Over any stretch: at most burst + rate × time + the last amount."""
    buckets, now, given_out, largest = Buckets(), 0.0, 0.0, 0.0
    for wait_s, amount in attempts:
        now += wait_s
        taken = buckets.take("k", rate, amount, now, overdraw=True)
        if taken.allowed:
            given_out += amount
            largest = max(largest, amount)
        assert given_out <= rate.burst + rate.per_s * now + largest + 1e-6


def test_a_recording_longer_than_the_burst_is_paid_for_afterwards() -> None:
    """It is let through whole, and the next waits until the debt is paid."""
    buckets, rate = Buckets(), Rate(1.0, 60.0)
    assert buckets.take("t", rate, 3600.0, 0.0, overdraw=True).allowed
    refused = buckets.take("t", rate, 1.0, 0.0, overdraw=True)
    assert not refused.allowed
    assert refused.retry_after_s == pytest.approx(3540)
    assert refused.remaining == 0
    assert not buckets.take("t", rate, 1.0, 3539.0, overdraw=True).allowed
    assert buckets.take("t", rate, 1.0, 3541.0, overdraw=True).allowed


def test_one_key_does_not_take_from_another() -> None:
    """Each has a bucket of its own."""
    buckets, rate = Buckets(), Rate(1.0, 2.0)
    assert [buckets.take("a", rate, 1.0, 0.0).allowed for _ in range(3)] == [True, True, False]
    assert buckets.take("b", rate, 1.0, 0.0).allowed


def test_a_clock_that_stands_still_or_runs_back_gives_nothing() -> None:
    """Only time that passes fills a bucket."""
    buckets, rate = Buckets(), Rate(1.0, 1.0)
    assert buckets.take("a", rate, 1.0, 10.0).allowed
    assert not buckets.take("a", rate, 1.0, 5.0).allowed
    assert not buckets.take("a", rate, 1.0, 5.5).allowed


def test_buckets_are_bounded() -> None:
    """The one that was not used for longest gives way; one in use stays."""
    buckets, rate = Buckets(max_buckets=3), Rate(0.001, 1.0)
    assert buckets.take("mine", rate, 1.0, 0.0).allowed
    for number in range(100):
        buckets.take(number, rate, 1.0, 0.0)
        assert not buckets.take("mine", rate, 1.0, 0.0).allowed
    assert len(buckets) == 3


@pytest.mark.parametrize(("per_s", "burst"), [(0, 1), (1, 0), (-1, 1), (float("inf"), 1), (float("nan"), 1)])
def test_a_rate_is_above_nothing(per_s: float, burst: float) -> None:
    """And finite."""
    with pytest.raises(ValueError, match="above 0"):
        Rate(per_s, burst)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=50))
def test_places_are_never_more_than_there_are(moves: list[tuple[str, bool]]) -> None:
    """Whoever comes and goes."""
    places, held = Places(), {"a": 0, "b": 0}
    for key, enters in moves:
        if enters:
            entered = places.enter(key, 3)
            assert entered == (held[key] < 3)
            held[key] += entered
        else:
            places.leave(key)
            held[key] = max(0, held[key] - 1)
        assert {name: places.held(name) for name in held} == held


def test_places_without_a_limit() -> None:
    """None is any number."""
    places = Places()
    assert all(places.enter("a", None) for _ in range(1000))
    assert places.held("a") == 1000


def test_wrong_credentials_are_put_off_longer_each_time() -> None:
    """The first few have no consequence; then 1, 2, 4 … seconds, up to the longest."""
    guard, now = Guard(Patience(free=3, first_s=1, longest_s=60, forget_s=900)), 0.0
    assert [guard.failed("192.0.2.1", now) for _ in range(3)] == [0, 0, 0]
    waits = []
    for _ in range(10):
        wait_s = guard.failed("192.0.2.1", now)
        assert guard.blocked_s("192.0.2.1", now) == wait_s
        waits.append(wait_s)
        now += wait_s
        assert guard.blocked_s("192.0.2.1", now) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_what_comes_while_put_off_does_not_count() -> None:
    """A client that tries on and on is not put off for ever by that."""
    guard = Guard(Patience(free=0, first_s=10))
    assert guard.failed("192.0.2.1", 0.0) == 10
    assert [guard.failed("192.0.2.1", float(second)) for second in range(1, 10)] == [
        9,
        8,
        7,
        6,
        5,
        4,
        3,
        2,
        1,
    ]
    assert guard.failed("192.0.2.1", 10.0) == 20


def test_no_other_address_is_put_off() -> None:
    """But for the network that one IPv6 client may choose its addresses from."""
    guard = Guard(Patience(free=0))
    guard.failed("192.0.2.1", 0.0)
    guard.failed("2001:db8::1", 0.0)
    assert guard.blocked_s("192.0.2.1", 0.0) > 0
    assert guard.blocked_s("::ffff:192.0.2.1", 0.0) > 0
    assert guard.blocked_s("192.0.2.2", 0.0) == 0
    assert guard.blocked_s("2001:db8::ffff:2", 0.0) > 0
    assert guard.blocked_s("2001:db8:0:1::1", 0.0) == 0
    assert guard.blocked_s(None, 0.0) == 0


def test_mistakes_are_forgotten_after_a_while() -> None:
    """Counted from the end of the last punishment."""
    guard = Guard(Patience(free=1, first_s=100, forget_s=900))
    guard.failed("192.0.2.1", 0.0)
    assert guard.failed("192.0.2.1", 0.0) == 100
    assert guard.failed("192.0.2.1", 999.0) == 200
    assert guard.failed("192.0.2.1", 999.0 + 200 + 900) == 0


def test_addresses_are_bounded() -> None:
    """An attacker with many addresses fills no memory."""
    guard = Guard(Patience(), max_peers=100)
    for number in range(10_000):
        guard.failed(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(guard) == 100
