"""What one client does wrong is its own affair: a documented error for it, nothing for anybody else."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.e2e.streams import comparable, customer_audio, listen, pieces, start_message, stream, utterances
from tests.support.server import RunningServer

pytestmark = pytest.mark.slow
CLIP_S = 6.5


@pytest.fixture(scope="module")
def good_call(server: RunningServer) -> Iterator[tuple[ClientConnection, list[object]]]:
    """A call that is half way through while others misbehave, and what it should come to."""
    audio = customer_audio(CLIP_S)
    expected = comparable(utterances(stream(server.stream_url, audio, 320, line="alone")))
    with connect(server.stream_url, compression=None) as socket:
        socket.send(start_message(call_id="good", line="among-others"))
        for piece in pieces(audio[: len(audio) // 2], 320):
            socket.send(piece)
        yield socket, [*expected]


@pytest.mark.usefixtures("good_call")
@pytest.mark.parametrize(
    ("messages", "code", "close_code"),
    [
        (["not JSON"], "invalid_json", 1007),
        (["[]"], "invalid_json", 1007),
        (['{"type":"start"}'], "invalid_field", 1007),
        ([start_message(encoding="mp3")], "unsupported_encoding", 1003),
        ([start_message(sample_rate=11025)], "unsupported_sample_rate", 1003),
        ([start_message(["boss"])], "unsupported_channels", 1003),
        ([b"\0" * 320], "audio_before_start", 1003),
        (['{"type":"dance"}'], "unknown_type", 1003),
        ([start_message(call_id="with space")], "invalid_field", 1007),
        ([start_message(call_id="good")], "call_exists", 1008),
        ([start_message(line="big"), b"\0" * (2 * 1024 * 1024)], "message_too_big", 1009),
    ],
)
def test_a_faulty_client_is_told_and_closed(
    server: RunningServer, messages: list[str | bytes], code: str, close_code: int
) -> None:
    """Each fault has its own error message and close code."""
    with connect(server.stream_url, compression=None) as socket:
        for message in messages:
            socket.send(message)
        replies = listen(socket)
    assert socket.close_code == close_code
    assert [reply["code"] for reply in replies if reply["type"] == "error"] == [code]


def test_an_odd_number_of_bytes_is_a_warning(server: RunningServer) -> None:
    """Half a sample at the end is left out, said, and the rest is scored."""
    messages = stream(server.stream_url, customer_audio(CLIP_S) + b"\x01", 333, line="odd")
    assert "truncated_sample" in [message.get("code") for message in messages]
    assert utterances(messages)
    assert messages[-1]["type"] == "summary"


@pytest.mark.parametrize("body", [b"", b"no audio at all", b"RIFF\0\0\0\0WAVE"])
def test_a_corrupt_or_empty_upload_is_a_problem(server: RunningServer, body: bytes) -> None:
    """RFC 9457 problem details, status 422."""
    answer = httpx.post(f"{server.url}/v1/score", content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"]


def test_the_good_call_noticed_nothing(good_call: tuple[ClientConnection, list[object]]) -> None:
    """After all that, the call that was going on gets the records it would have had alone."""
    socket, expected = good_call
    audio = customer_audio(CLIP_S)
    for piece in pieces(audio[len(audio) // 2 :], 320):
        socket.send(piece)
    socket.send('{"type":"stop"}')
    messages = listen(socket)
    assert comparable(utterances(messages)) == expected
    assert messages[-1]["type"] == "summary"
    assert socket.close_code == 1000
