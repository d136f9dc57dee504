"""What is due goes at its moment, once, whatever became of it before; nothing piles up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.results.expiry import Expiries

STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 20), st.integers(0, 20)))


@given(STEPS)
def test_it_is_as_a_plain_dictionary(steps: list[tuple[str, int | None, int]]) -> None:
    """Names that come, come again and go: those are due that a dictionary says, and the others stay in order."""
    kept: dict[str, float] = {}
    expiries = Expiries()
    for name, at, now in steps:
        if at is None:
            kept.pop(name, None)
            expiries.discard(name)
        else:
            kept[name] = at
            expiries.add(name, at)
        due = [known for known, until in kept.items() if until <= now]
        for known in due:
            del kept[known]
        assert sorted(expiries.due(now)) == sorted(due)
        assert (list(expiries), len(expiries)) == (list(kept), len(kept))


def test_nothing_piles_up() -> None:
    """Names that come and go before their moment leave nothing behind."""
    expiries = Expiries()
    for number in range(10_000):
        expiries.add(f"name-{number}", 1e9)
        expiries.discard(f"name-{number}")
    assert len(expiries._heap) <= 64
