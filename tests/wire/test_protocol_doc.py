"""`docs/protocol.md` is executed: its session is played, its bad messages are sent, its tables are compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.audio.tones import ToneKind
from app.domain import Encoding, FloatArray, Leg, LineEvent, LineRef, ModelRef, Utterance, UtteranceRecord
from app.inference.line_profile import LegContext, LineProfile
from app.inference.profile_book import ProfileBook
from app.pipeline import (
    CallPipeline,
    Interim,
    MarkReached,
    PauseChanged,
    PipelineParts,
    ServerEvent,
    SessionWarning,
    SpeechStarted,
    Summary,
)
from app.records import record_body
from app.wire.base import Audio, CloseCode, Start, Stop, WireError
from app.wire.native import (
    MAX_MESSAGE_BYTES,
    NativeProtocol,
    encode_error,
    encode_interim,
    encode_line_event,
    encode_mark,
    encode_ready,
    encode_speech_start,
    encode_summary,
    encode_utterance,
    encode_warning,
)
from app.wire.replies import encode_key, encode_pause
from tests.support.calls import interleaved, parts, talk
from tests.wire.test_native import receive
from tests.wire.test_replies import SCORED

DOC = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
AUDIO = re.compile(r"\(audio: (?P<legs>.*)\)")
TURN = re.compile(r"(\d+) ms of (silence|speech)")
MADE_AT = 1_795_860_000.0
SECRET = "7Qm0Zb3xWk5tPq1LrV8sYc2nDe4uFgHi"
START = '{"type":"start","encoding":"pcm_mulaw","sample_rate":8000,"channels":["customer"]}'


class DocScorer:
    """Always sure of the same thing."""

    def __init__(self) -> None:
        self.model = ModelRef("kowairo-8k", "0.1.0", "default")
        self.embedding_dim = 1

    def score(
        self,
        utterance: Utterance,
        line_profile: LineProfile,
        leg_context: LegContext,
        want_salience: bool = False,
    ) -> tuple[UtteranceRecord, FloatArray | None]:
        """The record that the page shows."""
        shown = replace(
            SCORED,
            call_id=utterance.call_id,
            leg=utterance.leg,
            utterance_id=utterance.utterance_id,
            start_s=utterance.start_s,
            end_s=utterance.end_s,
            salience=None,
            model=self.model,
            line_profile=LineRef(line_profile.id, line_profile.n),
            audio_quality=utterance.quality,
            latency_ms=None,
            seq=None,
            created_at=None,
            durable=False,
        )
        if utterance.reason is None:
            scores = {"anger": 0.6312, "joy": 0.0508, "neutral": 0.2215, "sadness": 0.0965}
            return replace(
                shown,
                scores=scores,
                emotion="anger",
                confidence=0.6312,
                arousal=0.5721,
                valence=-0.4408,
                expected_cost=0.3688,
            ), np.ones(1, np.float32)
        withheld = replace(
            shown,
            scores=None,
            emotion=None,
            confidence=None,
            arousal=None,
            valence=None,
            expected_cost=None,
        )
        return replace(withheld, abstained=True, reason=utterance.reason, detail=utterance.detail), None


def blocks(kind: str) -> list[str]:
    """The page's fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


def lines(block: str) -> Iterator[tuple[str, str]]:
    """A transcript's messages: ('>' from the client or '<' from the service, text); indented lines go on."""
    for entry in re.split(r"^(?=[<>] )", block, flags=re.MULTILINE)[1:]:
        yield entry[0], " ".join(line.strip() for line in entry[2:].splitlines())


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, as cells."""
    section = DOC.split(f"\n{heading}\n", 1)[1]
    rows = re.search(r"^\|.*\n\|[-| ]+\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1].splitlines()]


def names(heading: str) -> list[str]:
    """What the first column of a table names."""
    return [name for row in table(heading) for name in re.findall(r"`([^`]+)`", row[0])]


def spoken(description: str, encoding: Encoding) -> bytes:
    """The audio that a line of a transcript stands for; legs are separated by ';'."""
    legs = []
    for leg in description.split(";"):
        turns = [(int(ms), 0) if what == "silence" else (0, int(ms)) for ms, what in TURN.findall(leg)]
        legs.append(talk(turns))
    return interleaved(legs, encoding)


def timed(record: UtteranceRecord) -> UtteranceRecord:
    """With what the socket's clock adds."""
    return replace(record, audio_quality=replace(record.audio_quality, jitter_ms=0.4))


def reply(call_id: str, event: ServerEvent, seq: int) -> str:
    """An event as the service sends it; seq: the number of the next record."""
    if isinstance(event, UtteranceRecord):
        kept = replace(event, latency_ms=41.7, seq=seq, created_at=MADE_AT + event.end_s, durable=True)
        return encode_utterance(timed(kept))
    if isinstance(event, SpeechStarted):
        return encode_speech_start(call_id, event.leg, event.utterance_id, event.start_s)
    if isinstance(event, LineEvent):
        return encode_line_event(event)
    if isinstance(event, Interim):
        return encode_interim(timed(event.record))
    if isinstance(event, MarkReached):
        return encode_mark(call_id, event.name)
    if isinstance(event, SessionWarning):
        return encode_warning(call_id, event.code, event.detail)
    if isinstance(event, PauseChanged):
        return encode_pause(call_id, event.paused, event.source, event.at_s)
    assert isinstance(event, Summary)
    return encode_summary(event.body())


def converse(client: list[str]) -> list[list[dict[str, Any]]]:
    """What the service answers to each of the client's lines."""
    protocol, calls = NativeProtocol(), list[CallPipeline]()
    shared = PipelineParts(parts(), DocScorer(), ProfileBook(1))
    answers = []
    records = 0
    for text in client:
        audio = AUDIO.fullmatch(text)
        if audio is None:
            events = protocol.receive_text(text)
        else:
            payload = spoken(audio["legs"], calls[0].start.format.encoding)
            events = protocol.receive_bytes(payload)
        said: list[str] = []
        for event in events:
            if isinstance(event, Start):
                call = shared.open(event.call)
                calls.append(call)
                legs = event.call.format.channels
                said.append(
                    encode_ready(event.call.call_id, shared.scorer.model, call.unscored, legs, SECRET)
                )
                continue
            call = calls[0]
            if isinstance(event, Audio):
                made = call.push(event.packet)
            elif isinstance(event, Stop):
                made = call.stop()
            else:
                made = call.control(event)
            for answer in made:
                said.append(reply(call.start.call_id, answer, records + 1))
                records += isinstance(answer, UtteranceRecord)
        answers.append([json.loads(text) for text in said])
    return answers


@pytest.mark.parametrize("index", range(len(blocks("transcript"))))
def test_the_sessions_of_the_page_are_what_happens(index: int) -> None:
    """Every line of the service in a transcript is what it answers there, and it answers nothing else."""
    client: list[str] = []
    expected: list[list[dict[str, Any]]] = []
    for side, text in lines(blocks("transcript")[index]):
        if side == ">":
            client.append(text)
            expected.append([])
        else:
            expected[-1].append(json.loads(text))
    assert converse(client) == expected


@pytest.mark.parametrize("index", range(len(blocks("client"))))
def test_the_clients_messages_of_the_page_are_accepted(index: int) -> None:
    """Each message given as an example is read without an error."""
    protocol = NativeProtocol()
    message = blocks("client")[index]
    if json.loads(message)["type"] != "start":
        protocol.receive_text(START)
    assert len(protocol.receive_text(message)) == 1


def bad_messages() -> list[tuple[str, str, str]]:
    """(code, close code, example) of each protocol error of the page."""
    return [(row[0].strip("`"), row[1], row[3]) for row in table("### Errors of the protocol")]


@pytest.mark.parametrize(("code", "close", "example"), bad_messages())
def test_each_error_of_the_page_is_raised_by_its_example(code: str, close: str, example: str) -> None:
    """The examples beside the codes, sent in order on one stream, end in that error and close code."""
    said = {"START": START, "BIG": "x" * (MAX_MESSAGE_BYTES + 1), "LARGE": large_metadata()}
    *before, last = re.findall(r"`([^`]+)`", example)
    protocol = NativeProtocol()
    for message in before:
        protocol.receive_text(said.get(message, message))
    with pytest.raises(WireError) as caught:
        receive(protocol, b"\xff" if last == "BYTES" else said.get(last, last))
    error = caught.value
    assert (error.code, str(int(error.close_code))) == (code, close)
    assert error.title in DOC
    assert json.loads(encode_error(error)).keys() == {"type", *names("### error")}


def large_metadata() -> str:
    """A start message whose metadata is over the limit."""
    return json.dumps(json.loads(START) | {"metadata": {"note": "x" * 4_096}})


def test_every_error_of_the_code_is_on_the_page() -> None:
    """No error code of the parser is left out."""
    source = (Path(__file__).parents[2] / "app" / "wire" / "native.py").read_text()
    codes = set(re.findall(r'WireError\(\s*"(\w+)"', source))
    codes |= {f"unsupported_{field}" for field in re.findall(r'_unsupported\("(\w+)"', source)}
    assert codes == {code for code, _, _ in bad_messages()}


def test_every_close_code_is_on_the_page() -> None:
    """The table of close codes is the enumeration."""
    assert names("## Close codes") == [str(int(code)) for code in CloseCode]


def test_every_field_is_on_the_page() -> None:
    """The tables name the fields of start, of the record, of ready and of the summary, no more and no fewer."""
    start, *answers = converse(
        [
            START.replace("}", ',"call_id":"c"}'),
            "(audio: 0 ms of silence, 900 ms of speech, 900 ms of silence)",
            '{"type":"mark","name":"m"}',
            '{"type":"stop"}',
        ]
    )
    said = {message["type"]: message for message in chain(start, *answers)}
    assert ["type", *names("### ready")] == list(said["ready"])
    assert ["type", *names("### speech_start")] == list(said["speech_start"])
    assert ["type", *names("### summary")] == list(said["summary"])
    assert ["type", *names("### mark")] == list(said["mark"])
    paused = encode_pause("c", True, "rest", 1.0)
    assert ["type", *names("### paused, resumed")] == list(json.loads(paused))
    assert ["type", *names("### dtmf")] == list(json.loads(encode_key("c", "5", None, 1.0)))
    line_event = encode_line_event(LineEvent("c", Leg.CUSTOMER, "tone", "busy", 1.0, 2.0))
    assert ["type", *names("### line_event")] == list(json.loads(line_event))
    assert names("### utterance") == list(record_body(SCORED))
    assert ["type", *names("### warning")] == list(json.loads(encode_warning("c", "x", "y")))
    audio = said["summary"]["legs"]["customer"]["audio"]
    assert names("#### The account of a leg") == list(audio)
    read = {"encoding", "sample_rate", "channels", "call_id", "line", "language", "interim", "salience"}
    assert set(names("### start")) == read | {
        "consent",
        "notice_given",
        "metadata",
        "team",
        "subject",
        "resume",
    }


def test_the_legs_of_the_page_are_those_of_the_service() -> None:
    """Leg names and encodings are quoted where they are defined."""
    for value in (*Leg, *Encoding):
        assert f"`{value}`" in DOC


def test_every_tone_is_on_the_page() -> None:
    """The page explains each name that a line event may have."""
    section = DOC.split("\n### line_event\n", 1)[1]
    assert [kind for kind in ToneKind if f"| `{kind}` |" not in section] == []
