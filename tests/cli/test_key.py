"""`key new`: a key for the keys file, shown once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from app.access.keyfile import read_keys
from app.access.keys import KeyRecord
from app.access.principal import Principal, Scope
from app.cli.exits import ExitCode
from app.cli.parser import main

NEW = ["key", "new", "--tenant", "alpha", "--scopes", "ingest,label"]


def test_a_key_and_what_is_kept_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Two lines; the second tells no secret."""
    assert main([*NEW, "--name", "pbx", "--expires", "90d"]) == ExitCode.DONE
    key, kept = capsys.readouterr().out.splitlines()
    record = KeyRecord.from_json(json.loads(kept))
    assert record.verify(key, record.created_at) == Principal(
        "alpha", "pbx", frozenset({Scope.INGEST, Scope.LABEL}), record.key_id
    )
    assert record.expires_at == pytest.approx(record.created_at + 90 * 86_400, abs=0.01)
    assert key.split("_", 2)[2] not in kept


def test_a_key_is_added_to_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made where there is none."""
    path = tmp_path / "keys.json"
    for _ in range(2):
        assert main([*NEW, "--file", str(path)]) == ExitCode.DONE
    printed = re.findall(r"^kw_(\w+?)_", capsys.readouterr().out, re.M)
    assert list(read_keys(path)) == printed
    path.write_text("{}")
    assert main([*NEW, "--file", str(path)]) == ExitCode.FAILED
    captured = capsys.readouterr()
    assert "keys.json: expected a JSON array" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("option", "value"),
    [("--tenant", "../x"), ("--tenant", "_other"), ("--scopes", "all"), ("--scopes", "")],
)
def test_impossible_options_are_named(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is made."""
    with pytest.raises(SystemExit) as ended:
        main([*NEW, option, value])
    assert ended.value.code == ExitCode.USAGE
    assert f"argument {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--expires", "soon"), ("--expires", "2020-01-01T00:00:00Z"), ("--expires", "0d"), ("--name", "a\nb")],
)
def test_impossible_ends_and_names(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, nothing on stdout."""
    assert main([*NEW, option, value]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith("kowairo: ")
    assert captured.out == ""
