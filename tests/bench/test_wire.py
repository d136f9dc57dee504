"""The benchmark of the parsers runs, and knows every carrier."""

from __future__ import annotations

import sys

import pytest

from app.wire.carriers import CARRIERS
from bench import wire


def test_every_carrier_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row for each, two where the carrier tells the legs apart; every message of the phase was read."""
    monkeypatch.setattr(wire, "FRAMES", 20)
    monkeypatch.setattr(sys, "argv", ["wire", "--repeat", "1"])
    wire.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert {line.split()[0] for line in lines} == set(CARRIERS)
    assert all(int(line.split()[2]) >= 4 for line in lines)  # AudioHook sends 100 ms a message
