"""`python -m app dead-letters` against a service's answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.cli.exits import ExitCode
from app.cli.parser import main

KEY = "a-key-of-this-test"


def letter(number: int, **members: Any) -> dict[str, Any]:
    """What the service says of a letter."""
    return {
        "id": f"dl_170000000000{number}_0123456789abcdef",
        "state": "dead",
        "endpoint_id": "we_1",
        "webhook_id": "msg_1",
        "type": "utterance",
        "timestamp": "2026-01-02T03:04:05.000Z",
        "call_id": "call-1",
        "tries": 10,
        "reason": "rejected",
        "status": 500,
        "detail": "HTTP 500",
        "failed_at": "2026-01-03T03:04:05.000Z",
        "redrives": 0,
    } | members


class Service:
    """Answers by method and path; keeps what was asked."""

    def __init__(self, answers: dict[str, list[tuple[int, Any]]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.keys: set[str | None] = set()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its URL."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                asked = f"{self.command} {self.path}"
                service.asked.append((asked, json.loads(body) if body else None))
                service.keys.add(self.headers.get("Authorization"))
                status, said = service.answers[asked].pop(0)
                raw = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def test_letters_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All pages; one line each; the key comes from the environment."""
    monkeypatch.setenv("CRM_KEY", KEY)
    first = {"items": [letter(1), letter(2, reason="timeout", status=None)], "next": "abc"}
    service = Service(
        {
            "GET /v1/dead-letters?limit=200&endpoint_id=we_1": [(200, first)],
            "GET /v1/dead-letters?limit=200&endpoint_id=we_1&cursor=abc": [
                (200, {"items": [letter(3, state="queued")], "next": None})
            ],
        }
    )
    with service.running() as url:
        options = ["--endpoint", "we_1", "--url", url, "--api-key-env", "CRM_KEY"]
        assert main(["dead-letters", "list", *options]) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("dl_1700000000001_0123456789abcdef  dead ")
    assert lines[0].endswith("we_1  10 tries, rejected (500)")
    assert lines[1].endswith("10 tries, timeout")
    assert "queued" in lines[2]
    assert service.keys == {f"Bearer {KEY}"}


def test_letters_are_sent_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Some by id, or all of an endpoint, as often as the service says there are more."""
    service = Service(
        {
            "POST /v1/dead-letters/dl_1/redrive": [(202, letter(1))],
            "POST /v1/dead-letters/a%2Fb/redrive": [(202, letter(1))],
            "POST /v1/dead-letters/redrive": [
                (202, {"redriven": 1_000, "more": True}),
                (202, {"redriven": 5, "more": False}),
            ],
        }
    )
    with service.running() as url:
        assert main(["dead-letters", "redrive", "dl_1", "a/b", "--url", url]) == ExitCode.DONE
        assert main(["dead-letters", "redrive", "--endpoint", "we_1", "--url", url]) == ExitCode.DONE
    assert capsys.readouterr().out.splitlines() == ["2 put back in the queue", "1005 put back in the queue"]
    assert service.asked[-1] == ("POST /v1/dead-letters/redrive", {"endpoint_id": "we_1"})
    assert service.keys == {None}


@pytest.mark.parametrize("arguments", [[], ["dl_1", "--endpoint", "we_1"]])
def test_it_must_be_clear_what_is_sent_again(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither nothing nor both."""
    assert main(["dead-letters", "redrive", *arguments]) == ExitCode.USAGE
    assert "not both" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, {"detail": "expected the scope 'admin'"}), "HTTP 403: expected the scope 'admin'"),
        ((500, []), "HTTP 500"),
        ((200, b"<html>"), "the answer is not JSON"),
    ],
)
def test_what_the_service_refuses_is_one_line(
    answer: tuple[int, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the service's own reason."""
    with Service({"GET /v1/dead-letters?limit=200": [answer]}).running() as url:
        assert main(["dead-letters", "list", "--url", url]) == ExitCode.FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(said) or said in line


def test_nobody_there_and_no_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each."""
    with Service({}).running() as url:
        pass
    assert main(["dead-letters", "list", "--url", url]) == ExitCode.FAILED
    monkeypatch.delenv("NO_KEY", raising=False)
    assert main(["dead-letters", "list", "--api-key-env", "NO_KEY"]) == ExitCode.SETTINGS
    assert main(["dead-letters", "list", "--url", "ftp://x"]) == ExitCode.FAILED
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "NO_KEY is not set" in lines[1]
