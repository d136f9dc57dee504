"""`call` against a scripted service on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from app.cli.exits import ExitCode
from app.cli.parser import main
from app.records import record_body
from tests.support.records import make_record

SUMMARY = {
    "type": "summary",
    "duration_s": 1.0,
    "legs": {
        "customer": {
            "utterances": 1,
            "audio": {"scored_s": 1.0, "silence_s": 0.0, "rejected_s": 0.0, "lost_s": 0.0},
        }
    },
}


class Service:
    """Answers every call with one utterance and keeps what it was sent."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.audio = b""
        self.authorization: str | None = None
        self.url = ""

    def handle(self, socket: ServerConnection) -> None:
        """One call."""
        assert socket.request is not None
        self.authorization = socket.request.headers.get("authorization")
        self.start = json.loads(socket.recv())
        if self.start.get("call_id") == "taken":
            socket.send('{"type":"error","code":"call_exists","detail":"expected a new call_id"}')
            socket.close(1008, "call_exists")
            return
        socket.send('{"type":"ready","call_id":"c"}')
        for message in socket:
            if isinstance(message, str):
                break
            self.audio += message
        socket.send(json.dumps({"type": "utterance", **record_body(make_record())}))
        socket.send(json.dumps(SUMMARY))
        socket.close(1000, "done")


@pytest.fixture
def service() -> Iterator[Service]:
    """A service for the length of a test."""
    service = Service()
    with serve(service.handle, "127.0.0.1", 0) as server:
        service.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/stream"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield service
        server.shutdown()
        thread.join()


def test_a_call_is_shown_as_it_goes(
    service: Service, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line an utterance and one for the summary; the audio arrives whole."""
    code = main(["call", str(clips[0]), "--url", service.url, "--speed", "0"])
    assert code == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "customer  anger       70 %" in lines[0]
    assert service.start == {
        "type": "start",
        "encoding": "pcm_s16le",
        "channels": ["customer"],
        "sample_rate": 8000,
    }
    assert len(service.audio) == 2 * 6 * 8000
    assert service.authorization is None


def test_everything_can_be_said_at_the_start(
    service: Service, clips: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options become fields of `start`; the key comes from the environment; --json prints every message."""
    monkeypatch.setenv("KOWAIRO_AUTH__API_KEYS", "0123456789abcdef,another-key-of-mine")
    options = ["--call-id", "c-1", "--line", "sales", "--language", "en", "--encoding", "pcm_mulaw"]
    options += [
        "--consent",
        "--notice-given",
        "--interim",
        "--salience",
        "--json",
        "--legs",
        "agent,customer",
    ]
    assert main(["call", str(clips[2]), "--url", service.url, "--speed", "0", *options]) == ExitCode.DONE
    assert service.start == {
        "type": "start",
        "encoding": "pcm_mulaw",
        "sample_rate": 8000,
        "channels": ["agent", "customer"],
        "call_id": "c-1",
        "line": "sales",
        "language": "en",
        "consent": True,
        "notice_given": True,
        "interim": True,
        "salience": True,
    }
    assert service.authorization == "Bearer 0123456789abcdef"
    printed = [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["ready", "utterance", "summary"]


def test_two_files_are_customer_and_agent(service: Service, clips: list[Path]) -> None:
    """Two mono recordings of one rate make a call of two legs."""
    main(["call", str(clips[0]), str(clips[0]), "--url", service.url, "--speed", "0"])
    assert service.start["channels"] == ["customer", "agent"]
    assert len(service.audio) == 2 * 2 * 6 * 8000


@pytest.mark.parametrize(
    ("files", "message", "code"),
    [
        ([0, 1], "one rate", ExitCode.FAILED),
        ([0, 2], "one channel in each", ExitCode.USAGE),
        ([0, 0, 0], "got 3", ExitCode.USAGE),
    ],
)
def test_recordings_that_make_no_call_are_refused(
    service: Service,
    clips: list[Path],
    files: list[int],
    message: str,
    code: ExitCode,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Different rates, a stereo file as one of two, three files."""
    arguments = ["call", *[str(clips[n]) for n in files], "--url", service.url, "--speed", "0"]
    assert main(arguments) == code
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named before any call is made."""
    (tmp_path / "a.wav").write_text("nothing")
    assert main(["call", str(tmp_path / "a.wav")]) == ExitCode.FAILED
    assert f"kowairo: {tmp_path / 'a.wav'}: unreadable" in capsys.readouterr().err


def test_a_refused_call_is_told(
    service: Service, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The service's code and detail on one line."""
    code = main(["call", str(clips[0]), "--url", service.url, "--call-id", "taken", "--speed", "0"])
    assert code == ExitCode.FAILED
    assert "call_exists: expected a new call_id" in capsys.readouterr().err


def test_nobody_listening_is_told(clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The address and the reason on one line."""
    assert main(["call", str(clips[0]), "--url", "ws://127.0.0.1:9/v1/stream"]) == ExitCode.FAILED
    assert "ws://127.0.0.1:9/v1/stream: " in capsys.readouterr().err
