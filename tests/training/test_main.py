"""The command line refuses what can't be done in one line, with exit code 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import DEBUG, ROOT, training
from training import __main__ as command
from training.__main__ import main
from training.engine import NonFiniteLossError
from training.run import Run
from training.teachers import whisper


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that must end with exit code 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


def config_file(folder: Path, text: str) -> str:
    """A configuration on disk."""
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.slow
def test_an_unknown_key_ends_the_process_with_code_2(tmp_path: Path) -> None:
    """As a user sees it: one line on standard error, nothing on standard output, nothing written."""
    config = config_file(tmp_path, "prepare: {techer: none}\n")
    done = training("run", "--config", config, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {config}: prepare: unknown key 'techer'; PrepareConfig knows lead_s, max_clip_s, pca_clips, seed, "
        "teacher, teacher_dim, teacher_layers, trail_s, workers\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_missing_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is named."""
    path = str(tmp_path / "nowhere.yaml")
    assert refused(["run", "--config", path], capsys) == (
        f"error: {path}: cannot be read: No such file or directory"
    )


def test_a_missing_corpora_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the shared corpora the manifest that was looked for is named."""
    root = tmp_path / "corpora"
    config = config_file(
        tmp_path, f"corpora: {{root: {root}, names: [ravdess]}}\nprepare: {{teacher: none}}\n"
    )
    line = refused(["run", "--config", config, "--out", str(tmp_path / "out")], capsys)
    assert f"{root}/manifest.jsonl: cannot be read: No such file or directory" in line


def test_an_unknown_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the names that there are."""
    config = config_file(tmp_path, "corpora: {names: [iemocap]}\n")
    line = refused(["run", "--config", config, "--out", str(tmp_path / "out")], capsys)
    assert "unknown corpus iemocap; known: ravdess, crema_d" in line


def test_a_configuration_without_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to prepare is an error, not an empty bundle."""
    config = config_file(tmp_path, "prepare: {teacher: none}\n")
    assert "names no clips" in refused(["run", "--config", config, "--out", str(tmp_path / "out")], capsys)


@pytest.mark.parametrize("stage", ["tokenizer", "finetune", "evaluate"])
def test_a_missing_stage(tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage that is asked for before the ones it builds on says which to run first."""
    line = refused([stage, "--config", str(ROOT / DEBUG), "--out", str(tmp_path / "out")], capsys)
    assert line == (
        f"error: {stage} needs what prepare writes, and {tmp_path}/out/prepare does not hold it: run that first"
    )


def test_a_missing_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the packages of the extra: which one, and how to get it."""
    monkeypatch.setitem(whisper.WHISPERS, "whisper-base", (("no_such_package_at_all", "x"),))
    config = config_file(tmp_path, "corpora: {synthetic_clips: 1}\n")
    line = refused(["prepare", "--config", config, "--out", str(tmp_path / "out")], capsys)
    assert line == "error: package no_such_package_at_all is not installed: pip install '.[teachers]'"


def test_a_stage_that_gives_up_ends_with_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loss that is no number: the message, no traceback."""

    def fail(*_: object, **__: object) -> None:
        raise NonFiniteLossError("loss is nan at step 9")

    monkeypatch.setattr(Run, "execute", fail)
    assert main(["run", "--config", str(ROOT / DEBUG), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: loss is nan at step 9\n"


def test_the_folder_is_named_after_the_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --out it is runs/<name>; one stage is one stage."""
    seen: list[Any] = []

    def note(self: Run, stages: tuple[str, ...], **options: Mapping[str, Any]) -> list[str]:
        seen.append((self.folder, stages, options))
        return ["head"]

    execute: Callable[..., list[str]] = note
    monkeypatch.setattr(command.Run, "execute", execute)
    assert main(["head", "--config", str(ROOT / DEBUG)]) == 0
    assert seen == [(Path("runs/debug"), ("head",), {"again": False})]
    assert capsys.readouterr().out == "head: done in runs/debug (head)\n"
