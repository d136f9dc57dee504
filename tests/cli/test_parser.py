"""Failures of every kind: one line on stderr, an exit code of their own, never a stack trace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from app.cli.exits import ExitCode
from app.cli.parser import main


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("kowairo: ")
    return lines[0]


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["score"], ["profile", "a.wav"], ["serve", "--port", "x"]]
)
def test_a_wrong_command_line_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Usage and exit code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert "usage: python -m app" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "65536"],
        ["call", "a.wav", "--speed", "-1"],
        ["call", "a.wav", "--speed", "nan"],
        ["call", "a.wav", "--legs", "customer,customer"],
        ["call", "a.wav", "--encoding", "mp3"],
        ["score", "a.wav", "--line", "with space"],
        ["score", "a.wav", "--legs", "boss"],
    ],
)
def test_an_impossible_option_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The option is named before anything is done."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert f"argument {arguments[-2]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["serve", "score x.wav", "profile x.wav --out p", "bundle verify", "config"]
)
def test_bad_settings_are_refused_by_every_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is named."""
    monkeypatch.setenv("KOWAIRO_MODUS", "production")
    assert main(command.split()) == ExitCode.SETTINGS
    assert "KOWAIRO_MODUS is not a setting" in complaint(capsys)


def test_a_cost_matrix_with_not_a_number_names_the_cell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a number is no price."""
    monkeypatch.setenv("KOWAIRO_POLICY__COST_MATRIX", '{"angry": {"neutral": NaN}}')
    assert main(["score", "x.wav"]) == ExitCode.SETTINGS
    line = complaint(capsys)
    assert "angry" in line
    assert "neutral" in line


def test_a_cost_matrix_of_other_categories_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the bundle's categories have a price."""
    monkeypatch.setenv("KOWAIRO_POLICY__COST_MATRIX", '{"bored": {"neutral": 1}}')
    assert main(["score", "x.wav"]) == ExitCode.SETTINGS
    assert "bored" in complaint(capsys)


@pytest.mark.parametrize("command", ["serve --port 0", "score x.wav", "bundle verify"])
def test_a_bundle_with_one_flipped_bit_is_refused(
    command: str,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The check that failed and the file are named."""
    broken = shutil.copytree(tiny_bundle, tmp_path / "broken")
    graph = bytearray((broken / "encoder.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (broken / "encoder.onnx").write_bytes(graph)
    monkeypatch.setenv("KOWAIRO_BUNDLE__PATH", str(broken))
    assert main(command.split()) == ExitCode.BUNDLE
    assert "bundle refused: hash: encoder.onnx" in complaint(capsys)


def test_a_bundle_is_verified(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each variant of the encoder gets a line."""
    assert main(["bundle", "verify", str(tiny_bundle)]) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["tiny", "0.0.1", "fp32", "on", "cpu:"],
        ["tiny", "0.0.1", "int8", "on", "cpu:"],
    ]


def test_the_settings_in_force_hide_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`config` prints JSON with what the environment changed, but no key."""
    monkeypatch.setenv("KOWAIRO_AUTH__API_KEYS", "a-very-secret-key-of-mine")
    monkeypatch.setenv("KOWAIRO_PORT", "8123")
    assert main(["config"]) == ExitCode.DONE
    printed = capsys.readouterr().out
    assert json.loads(printed)["port"] == 8123
    assert "secret-key" not in printed


def test_an_interrupt_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends a command with the usual code and without a trace."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.config.load_settings", interrupted)
    assert main(["config"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == ""
