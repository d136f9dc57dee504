"""`score` and `profile` on files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.cli.exits import ExitCode
from app.cli.parser import main
from tests.cli.conftest import spoken


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was printed, one JSON object a line."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_utterance_of_every_file_in_input_order(
    clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One record a line, each with its file; files in the order given, whichever is ready first."""
    order = [clips[2], clips[0], clips[1]]
    assert main(["score", *map(str, order)]) == ExitCode.DONE
    found = records(capsys)
    assert list(dict.fromkeys(record["file"] for record in found)) == [str(file) for file in order]
    legs = [record["leg"] for record in found if record["file"] == str(clips[2])]
    assert sorted(legs) == ["agent", "agent", "customer", "customer"]
    assert {record["call_id"] for record in found} == {"both-legs.wav", "one.wav", "two.flac"}
    assert all(record["latency_ms"] is None for record in found)


def test_no_record_depends_on_another_file(clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A file alone and among others gives the same records: each starts from the same line profile."""
    main(["score", *map(str, clips)])
    together = records(capsys)
    alone = []
    for file in clips:
        main(["score", str(file)])
        alone += records(capsys)
    assert alone == together


def test_within_a_file_the_line_learns(clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """As on a live call, the second utterance is scored against a profile that holds the first."""
    main(["score", str(clips[0]), "--line", "sales"])
    assert [record["line_profile"] for record in records(capsys)] == [
        {"id": "sales", "n": 0},
        {"id": "sales", "n": 1},
    ]


def test_a_whole_file_is_one_utterance(clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """With --whole there is no endpointing, and of two channels the first is taken."""
    assert main(["score", "--whole", "--salience", *map(str, clips)]) == ExitCode.DONE
    found = records(capsys)
    assert [record["file"] for record in found] == [str(file) for file in clips]
    assert {record["leg"] for record in found} == {"customer"}
    assert all(record["end_s"] - record["start_s"] > 3.5 for record in found)
    assert sum(found[0]["salience"]) == pytest.approx(1.0, abs=1e-3)


def test_bad_files_are_named_and_stop_no_other(
    clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text, an empty file, a file without samples, not a number, and no file at all: one line each."""
    bad = [tmp_path / name for name in ("text.wav", "empty.wav", "silent.wav", "nan.wav", "absent.wav")]
    bad[0].write_text("no audio")
    bad[1].write_bytes(b"")
    soundfile.write(bad[2], np.zeros(0, np.int16), 8000)
    soundfile.write(bad[3], np.full(8000, np.nan), 8000, subtype="FLOAT")
    code = main(["score", str(bad[0]), str(clips[0]), *map(str, bad[1:]), str(clips[1])])
    assert code == ExitCode.FAILED
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 4
    complaints = captured.err.splitlines()
    assert [line.split(": ")[1] for line in complaints] == [str(file) for file in bad]
    codes = [line.split(": ")[2] for line in complaints]
    assert codes == ["unreadable", "empty", "empty", "not_finite", "unreadable"]


def test_the_wrong_number_of_legs_is_a_problem_of_the_file(
    clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two legs for one channel are refused, and the stereo file is scored."""
    assert main(["score", "--legs", "agent,customer", *map(str, clips)]) == ExitCode.FAILED
    captured = capsys.readouterr()
    assert captured.err.count("wrong_legs") == 2
    assert {json.loads(line)["file"] for line in captured.out.splitlines()} == {str(clips[2])}


def test_lines_may_require_consent(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy of a line holds on the command line too, and --consent satisfies it."""
    monkeypatch.setenv("KOWAIRO_LINES", '{"sales": {"require_consent": true}}')
    main(["score", "--line", "sales", str(clips[0])])
    assert {record["reason"] for record in records(capsys)} == {"policy"}
    main(["score", "--line", "sales", "--consent", str(clips[0])])
    assert {record["reason"] for record in records(capsys)} == {None}


def test_a_profile_is_made_and_used(
    clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `profile` writes, `score` starts from; a frozen one learns nothing more."""
    out = tmp_path / "line.json"
    files = [str(file) for file in clips[:2]]
    assert main(["profile", *files, "--line", "sales", "--frozen", "--out", str(out)]) == ExitCode.DONE
    assert "line sales, 4 utterances of 2 files" in capsys.readouterr().out
    assert json.loads(out.read_text())["n"] == 4
    assert list(tmp_path.glob("*.part")) == []
    assert main(["score", "--line-profile", str(out), files[0]]) == ExitCode.DONE
    assert [record["line_profile"] for record in records(capsys)] == [{"id": "sales", "n": 4}] * 2


def test_a_profile_does_not_depend_on_the_number_of_workers(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files give the same profile to the last bit."""
    written = []
    for workers in ("1", "3"):
        monkeypatch.setenv("KOWAIRO_INFERENCE__WORKERS", workers)
        main(["profile", *map(str, clips), "--out", str(tmp_path / workers)])
        written.append((tmp_path / workers).read_bytes())
    assert written[0] == written[1]


def test_no_utterance_makes_no_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Silence gives a message, an exit code, and no file."""
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000, np.int16), 8000)
    code = main(["profile", str(tmp_path / "silence.wav"), "--out", str(tmp_path / "p.json")])
    assert code == ExitCode.FAILED
    assert "no utterance could be scored" in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("nonsense", "not JSON"),
        ("{}", "format"),
        ('{"format": "kowairo-line-profile", "schema_version": 1, "model": "other 1"}', "not comparable"),
    ],
)
def test_a_line_profile_that_cannot_be_used_is_refused(
    clips: list[Path], tmp_path: Path, content: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file and what is wrong with it."""
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    assert main(["score", "--line-profile", str(path), str(clips[0])]) == ExitCode.SETTINGS
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"kowairo: {path}: ")
    assert message in complaint


def test_a_profile_that_cannot_be_written_is_told(
    clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there gives one line."""
    code = main(["profile", str(clips[0]), "--out", str(tmp_path / "absent" / "p.json")])
    assert code == ExitCode.FAILED
    assert "No such file or directory" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    """`score … | head -1` ends without a word about broken pipes."""
    soundfile.write(tmp_path / "long.wav", np.concatenate([spoken(n) for n in range(20)]), 8000)
    command = [sys.executable, "-m", "app", "score", *[str(tmp_path / "long.wav")] * 20]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith('{"file":')
        process.stdout.close()
        assert process.stderr.read() == ""
