"""Keys that pause and resume a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.keys import KeyAction, KeyRules, KeyWatch

KEYS = st.text("0123456789*#", max_size=40)


@pytest.mark.parametrize("rules", [("", None), ("12a", None), (None, "x"), ("1" * 17, None), ("*1", "*1")])
def test_impossible_rules_are_refused(rules: tuple[str | None, str | None]) -> None:
    """No keys, keys that no telephone has, too many, the same for both."""
    with pytest.raises(ValueError, match="expected"):
        KeyRules(*rules)


def test_a_sequence_is_found_among_other_keys() -> None:
    """Wherever it begins; keys of an earlier sequence do not count again."""
    watch = KeyWatch(KeyRules(pause="**", resume="##"))
    assert [watch.press(key, False) for key in "1**"] == [None, None, KeyAction.PAUSE]
    assert watch.press("*", False) is None
    assert [watch.press(key, True) for key in "*#*##"] == [None, None, None, None, KeyAction.RESUME]


@given(keys=KEYS)
def test_without_rules_nothing_happens(keys: str) -> None:
    """Any keys at all."""
    watch = KeyWatch(KeyRules())
    assert all(watch.press(key, paused) is None for key in keys for paused in (False, True))


@given(keys=KEYS, pause=st.text("0123456789*#", min_size=1, max_size=4))
def test_a_pause_comes_exactly_where_its_keys_end(keys: str, pause: str) -> None:
    """As often as the sequence occurs without overlap."""
    watch = KeyWatch(KeyRules(pause=pause))
    found = sum(watch.press(key, False) is KeyAction.PAUSE for key in keys)
    assert found == keys.count(pause)
