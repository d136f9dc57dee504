"""The keys file: read again when it changes, and never worse off for a bad version."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from app.access.keyfile import CHECK_EVERY_S, KeysFile, KeysFileError, add_to_file, read_keys
from app.access.keys import KeyRecord, new_key
from app.access.principal import Principal, Scope
from app.telemetry.clock import Clock
from tests.support.clock import FakeClock
from tests.support.logs import logged

NOW = 1_700_000_000.0


def made(tenant: str = "alpha") -> tuple[str, KeyRecord]:
    """A key for everything."""
    return new_key(tenant, "test", list(Scope), now=NOW)


def write(path: Path, *records: KeyRecord) -> None:
    """A file of these keys, put in place at once."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps([record.to_json() for record in records]))
    draft.replace(path)


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A key that was added opens, one that was taken out no longer does, a second later at most."""
    clock, path = FakeClock(), tmp_path / "keys.json"
    (_, first), (_, second) = made(), made()
    write(path, first)
    file = KeysFile(path, clock)
    assert file.find(first.key_id) == first
    write(path, second)
    assert file.find(first.key_id) == first  # not looked at again yet
    clock.advance(CHECK_EVERY_S)
    assert file.find(first.key_id) is None
    assert file.find(second.key_id) == second


@pytest.mark.parametrize(
    "broken",
    ["", "{", "{}", "[1]", '[{"key_id": "x"}]', "[" * 100_000, '[{"a": 1, "a": 2}]', "\x00"],
    ids=["empty", "cut", "object", "number", "members", "deep", "twice", "nul"],
)
def test_a_bad_version_leaves_the_one_before_in_force(tmp_path: Path, broken: str) -> None:
    """It is complained of once, without a word of what it holds; the next good one counts."""
    clock, path, states = FakeClock(), tmp_path / "keys.json", []
    (_, first), (_, second) = made(), made()
    write(path, first)
    file = KeysFile(path, clock, states.append)
    with logged() as log:
        path.write_text(broken)
        for _ in range(5):
            clock.advance(CHECK_EVERY_S)
            assert file.find(first.key_id) == first
        assert log.getvalue().count("keys_file_refused") == 1
        path.unlink()
        for _ in range(5):
            clock.advance(CHECK_EVERY_S)
            assert file.find(first.key_id) == first
        assert log.getvalue().count("keys_file_refused") == 2
        write(path, second)
        clock.advance(CHECK_EVERY_S)
        assert file.find(second.key_id) == second
        assert file.find(first.key_id) is None
    assert states == [True, False, False, True]
    assert first.digest not in log.getvalue()


def test_a_file_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    """With its name and what is wrong."""
    with pytest.raises(KeysFileError, match=r"none\.json"):
        KeysFile(tmp_path / "none.json", FakeClock())
    path = tmp_path / "keys.json"
    _, record = made()
    write(path, record, record)
    with pytest.raises(KeysFileError, match="key 2: its key_id is there already"):
        KeysFile(path, FakeClock())
    path.write_text(json.dumps([record.to_json() | {"scopes": ["all"]}]))
    with pytest.raises(KeysFileError, match="key 1: scopes"):
        KeysFile(path, FakeClock())
    path.write_bytes(b" " * (16 * 1024 * 1024 + 1))
    with pytest.raises(KeysFileError, match="at most"):
        KeysFile(path, FakeClock())


def test_keys_are_added_to_a_file(tmp_path: Path) -> None:
    """To a new one, or to those there; nobody else may read the file, and no draft is left."""
    path = tmp_path / "keys.json"
    (_, first), (_, second) = made("alpha"), made("beta")
    add_to_file(path, first)
    add_to_file(path, second)
    assert list(read_keys(path).values()) == [first, second]
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(KeysFileError):
        add_to_file(tmp_path / "no" / "keys.json", first)


class _Ticking:
    """A clock on which a second passes at every look: the file is looked at each time."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return NOW

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        self._now += CHECK_EVERY_S
        return self._now


def test_rotation_under_load_never_refuses_a_key_that_is_in_every_version(tmp_path: Path) -> None:
    """While another process rotates the other keys 200 times, the one that stays opens every time."""
    path, clock = tmp_path / "keys.json", _Ticking()
    ticking: Clock = clock
    key, staying = made()
    write(path, staying)
    file = KeysFile(path, ticking)
    done = threading.Event()

    def rotate() -> None:
        for _ in range(200):
            write(path, staying, made()[1])
        done.set()

    writer = threading.Thread(target=rotate)
    writer.start()
    asked = 0
    while not done.is_set() or asked < 200:
        found = file.find(staying.key_id)
        assert found is not None
        assert isinstance(found.verify(key, NOW), Principal)
        asked += 1
    writer.join()
    assert file.find(staying.key_id) == staying
