"""The server as a process: what is in it, how big it is, how it starts and ends."""

from __future__ import annotations

import json
import signal
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from app.cli.exits import ExitCode
from tests.e2e.streams import customer_audio, listen, pieces, start_message, stream, utterances
from tests.support.server import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    RunningServer,
    app_process,
    eventually,
    read_line,
    running_server,
)

pytestmark = pytest.mark.slow
IDLE_MIB = 250
# Into the first utterance of the sample call (from 0.4 s to 6.0 s), not to its end.
MID_UTTERANCE_S = 3.0


def test_an_idle_server_is_small(settings: dict[str, str]) -> None:
    """Started and ready, it takes less than 250 MiB of memory."""
    with running_server(settings) as server:
        assert httpx.get(f"{server.url}/readyz").json()["status"] == "ready"
        assert server.status_kib("VmRSS") < IDLE_MIB * 1024
        assert server.terminate() == 0


def test_no_torch_in_the_process(server: RunningServer) -> None:
    """After scoring a call, no library of torch is mapped into the server."""
    assert utterances(stream(server.stream_url, customer_audio(6.5), 320, line="maps"))
    mapped = server.mapped_files()
    assert "onnxruntime" in mapped
    assert "torch" not in mapped


def test_readiness_names_what_serves(server: RunningServer) -> None:
    """`/readyz` gives bundle and provider, `/metrics` the same as a metric."""
    ready = httpx.get(f"{server.url}/readyz").json()
    assert ready["provider"] == "cpu"
    metrics = httpx.get(f"{server.url}/metrics").text
    assert f'name="{ready["bundle"]}"' in metrics


def test_a_caller_that_vanishes_is_still_scored(server: RunningServer) -> None:
    """The socket breaks in the middle of an utterance: the utterance is scored and stored all the same."""
    with connect(server.stream_url, compression=None) as socket:
        socket.send(start_message(call_id="vanished", line="vanished"))
        for piece in pieces(customer_audio(MID_UTTERANCE_S), 320):
            socket.send(piece)
        heard = [json.loads(socket.recv())["type"] for _ in range(2)]
        assert heard == ["ready", "speech_start"]
        socket.socket.shutdown(2)  # no close frame, no goodbye

    def ended() -> dict[str, Any] | None:
        answer = httpx.get(f"{server.url}/v1/calls/vanished")
        call: dict[str, Any] = answer.json()
        return call if answer.status_code == 200 and call["state"] == "ended" else None

    call = eventually(ended)
    assert call["outcome"] == "disconnected"
    records = httpx.get(f"{server.url}/v1/calls/vanished/utterances").json()["items"]
    assert len(records) == 1
    assert records[0]["start_s"] < 1.0
    assert records[0]["end_s"] == pytest.approx(MID_UTTERANCE_S, abs=0.3)
    assert records[0]["scores"] is not None


def test_a_port_in_use_is_one_clear_line(server: RunningServer, settings: dict[str, str]) -> None:
    """The second server says which port is taken and what to do, and ends with an exit code of its own."""
    arguments = ("serve", "--port", str(server.port))
    with app_process(*arguments, settings=settings) as (process, stderr):
        assert process.wait(START_TIMEOUT_S) == ExitCode.ADDRESS
        stderr.seek(0)
        lines = stderr.read().splitlines()
    assert len(lines) == 1
    assert f"port {server.port} on 127.0.0.1 is in use" in lines[0]
    assert httpx.get(f"{server.url}/livez").status_code == 200


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_server(settings: dict[str, str], sent: signal.Signals) -> None:
    """A live call gets the record of its utterance in flight, is told to go elsewhere, and the exit code is 0."""
    with running_server(settings) as server:
        with connect(server.stream_url, compression=None) as socket:
            socket.send(start_message(line="drained"))
            for piece in pieces(customer_audio(MID_UTTERANCE_S), 320):
                socket.send(piece)
            heard = [json.loads(socket.recv())["type"] for _ in range(2)]
            assert heard == ["ready", "speech_start"]
            server.process.send_signal(sent)
            assert len(utterances(listen(socket))) == 1
            assert socket.close_code == 1001
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert "Traceback" not in server.complaints()


def test_the_demo_plays_the_sample_call_and_goes_on_serving(settings: dict[str, str]) -> None:
    """What `make run` does: utterances as lines, then the addresses; Ctrl-C ends both processes."""
    arguments = ("demo", "--port", "0", "--speed", "0")
    with app_process(*arguments, settings=settings) as (process, stderr):
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Ctrl-C"):
            line = read_line(process, START_TIMEOUT_S)
            assert line, stderr_of(stderr, lines)
            lines.append(line.strip())
        url = lines[0].split()[-1].rstrip("/")
        assert any(" s  customer  " in line for line in lines)
        assert any(" s  agent     not scored  policy" in line for line in lines)
        for page in (f"live page   {url}/", f"API docs    {url}/docs", f"metrics     {url}/metrics"):
            assert page in lines
        assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_TIMEOUT_S) == 0
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/livez")


def test_the_demo_passes_on_why_the_service_did_not_start(
    server: RunningServer, settings: dict[str, str]
) -> None:
    """`make run` with the port in use: the service's own line and exit code, no stack trace."""
    with app_process("demo", "--port", str(server.port), settings=settings) as (process, stderr):
        assert process.wait(START_TIMEOUT_S) == ExitCode.ADDRESS
        assert stderr_of(stderr, []).count("\n") == 1


def stderr_of(stderr: Any, lines: list[str]) -> str:
    """What was complained about, after what was said."""
    stderr.seek(0)
    return "\n".join(lines) + str(stderr.read())


def test_production_without_keys_is_refused(settings: dict[str, str]) -> None:
    """Nobody serves the world by accident."""
    with app_process("serve", settings=settings | {"KOWAIRO_MODE": "production"}) as (process, stderr):
        assert process.wait(START_TIMEOUT_S) == ExitCode.SETTINGS
        assert "KOWAIRO_AUTH__API_KEYS" in stderr_of(stderr, [])


def test_keys_are_asked_for_when_configured(settings: dict[str, str]) -> None:
    """Without the key the door stays shut, on HTTP and on the socket; with it, `call` gets through."""
    key = "a-key-for-this-test"
    keyed = settings | {"KOWAIRO_MODE": "production", "KOWAIRO_AUTH__API_KEYS": key}
    with running_server(keyed) as server:
        assert httpx.get(f"{server.url}/v1/calls").status_code == 401
        answer = httpx.get(f"{server.url}/v1/calls", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        with connect(server.stream_url) as socket:
            assert [message["code"] for message in listen(socket)] == ["unauthorized"]
            assert socket.close_code == 1008
        arguments = ("call", "app/samples/two_legs.flac", "--speed", "0", "--url", server.stream_url)
        with app_process(*arguments, settings={"KOWAIRO_AUTH__API_KEYS": key}) as (process, _):
            assert process.wait(STOP_TIMEOUT_S) == 0
        assert server.terminate() == 0
