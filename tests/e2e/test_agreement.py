"""The same audio gives the same records, whichever door it comes in by and however it is cut."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.demo import sample_call
from tests.e2e.streams import by_leg, comparable, customer_audio, sample_audio, stream, utterances
from tests.support.server import ROOT, RunningServer, clean_environment

pytestmark = pytest.mark.slow
CLIP_S = 6.5


def score_on_the_command_line(settings: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    """What `python -m app score` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "app", "score", *arguments],
        cwd=ROOT,
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_records_do_not_depend_on_message_sizes(server: RunningServer) -> None:
    """A real clip in messages of 1, 160 and 100,000 bytes, each on a fresh line: identical records."""
    answers = {
        size: stream(server.stream_url, customer_audio(CLIP_S), size, line=f"cut-{size}", salience=True)
        for size in (1, 160, 100_000)
    }
    records = {size: comparable(utterances(messages)) for size, messages in answers.items()}
    assert len(records[160]) >= 1
    assert records[1] == records[160] == records[100_000]
    summaries = [messages[-1] | {"call_id": None} for messages in answers.values()]
    assert summaries[0]["type"] == "summary"
    assert summaries[0] == summaries[1] == summaries[2]


def test_a_file_scored_uploaded_and_streamed_is_the_same(
    server: RunningServer, settings: dict[str, str]
) -> None:
    """The sample call through the command line, the upload and the socket: the same records of both legs."""
    scored = score_on_the_command_line(settings, str(sample_call()), "--line", "scored")
    with sample_call().open("rb") as file:
        answer = httpx.post(
            f"{server.url}/v1/score", params={"line": "uploaded"}, files={"file": file}, timeout=60
        )
    assert answer.status_code == 200, answer.text
    uploaded = answer.json()["items"]
    streamed = utterances(
        stream(server.stream_url, sample_audio(), 100_000, ("customer", "agent"), line="streamed")
    )
    assert len(by_leg(scored)["customer"]) > 5
    assert comparable(scored) == comparable(uploaded) == comparable(streamed)
    assert {record["reason"] for record in by_leg(scored)["agent"]} == {"policy"}


def test_a_whole_file_scored_and_uploaded_is_the_same(
    server: RunningServer, settings: dict[str, str], tmp_path: Path
) -> None:
    """One utterance a file: the command line and the upload agree here too."""
    scored = score_on_the_command_line(settings, str(sample_call()), "--whole", "--line", "whole-1")
    with sample_call().open("rb") as file:
        answer = httpx.post(
            f"{server.url}/v1/score",
            params={"line": "whole-2", "whole": "true"},
            files={"file": file},
            timeout=60,
        )
    assert answer.status_code == 200, answer.text
    assert len(scored) == 1
    assert comparable(scored) == comparable(answer.json()["items"])
