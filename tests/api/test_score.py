"""An uploaded recording gets the records of the call it would have been."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.api.protocol import ScoreBody
from app.settings import Settings
from tests.support.service import Api, api, make_settings, server
from tests.support.streams import SAMPLE, comparable, customer_audio, play

CLIP_S = 6.5


def recording(seconds: float = CLIP_S, kind: str = "WAV", channels: int = 1, rate_hz: int = 8000) -> bytes:
    """The sample call's customer as a file, on every channel."""
    samples = np.frombuffer(customer_audio(seconds), dtype="<i2")
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples] * channels, axis=1), rate_hz, format=kind, subtype="PCM_16")
    return file.getvalue()


def post(web: Api, content: bytes, query: str = "") -> Any:
    """Uploads a body."""
    return web.request("POST", f"/v1/score{query}", content=content)


def test_a_body_and_a_form_are_the_same(web: Api) -> None:
    """Either way of sending the file gives the same records on a fresh line."""
    body = post(web, recording(), "?line=a&call_id=c")
    form = web.request("POST", "/v1/score?line=b&call_id=c", files={"file": ("x.wav", recording())})
    ScoreBody.model_validate(body.json())
    assert body.status_code == form.status_code == 200
    assert len(body.json()["items"]) == 1
    own = {"line_profile"}
    records = [
        {k: v for k, v in answer.json()["items"][0].items() if k not in own} for answer in (body, form)
    ]
    assert records[0] == records[1]
    assert body.json()["items"][0]["utterance_id"] == "c.customer.0000"
    assert body.json()["items"][0]["latency_ms"] is None
    assert body.json()["summary"]["duration_s"] == CLIP_S


def test_an_upload_and_a_stream_agree(plain: Settings) -> None:
    """The same audio over the socket, on a line that knows as much, gives the same record."""
    with api(plain) as web:
        uploaded = post(web, recording()).json()["items"]
    with server(plain) as live:
        streamed = play(live.stream_url, customer_audio(CLIP_S))
    assert len(uploaded) == 1
    assert comparable([{"type": "utterance", **record} for record in uploaded]) == comparable(streamed)


def test_a_whole_file_is_one_utterance(web: Api) -> None:
    """`whole` looks for no endpoints and gives no summary; salience comes when asked for."""
    body = post(web, recording(), "?whole=true&salience=true").json()
    ScoreBody.model_validate(body)
    assert (len(body["items"]), body["summary"]) == (1, None)
    assert sum(body["items"][0]["salience"]) == pytest.approx(1.0, abs=1e-3)


def test_two_channels_are_customer_and_agent(web: Api) -> None:
    """Unless the request says otherwise."""
    stereo = recording(channels=2)
    records = post(web, stereo).json()["items"]
    assert sorted({record["leg"] for record in records}) == ["agent", "customer"]
    assert {record["reason"] for record in records if record["leg"] == "agent"} == {"policy"}
    swapped = post(web, stereo, "?legs=agent,customer").json()["items"]
    assert {record["reason"] for record in swapped if record["leg"] == "agent"} == {"policy"}


def test_nothing_of_an_upload_is_kept(web: Api) -> None:
    """It is not a call of the list; only its line has learnt."""
    assert post(web, recording(), "?line=kept&call_id=c").status_code == 200
    assert web.get("/v1/calls").json()["items"] == []
    assert web.get("/v1/lines").json()["items"][0]["id"] == "kept"


@pytest.mark.parametrize(
    ("content", "query", "status", "code"),
    [
        (b"", "", 422, "recording_empty"),
        (b"this is no audio", "", 422, "recording_unreadable"),
        (SAMPLE.read_bytes()[:100], "", 422, "recording_unreadable"),
        (recording(0.5)[:44], "", 422, "recording_empty"),
        (recording(0.5, channels=3), "", 422, "recording_too_many_channels"),
        (recording(0.5), "?legs=customer,agent", 422, "recording_wrong_legs"),
        (recording(0.5), "?legs=boss", 422, "invalid_request"),
        (recording(0.5), "?legs=agent,agent", 422, "invalid_request"),
        (recording(0.5), "?line=a%20b", 422, "invalid_request"),
        (recording(0.5), "?whole=perhaps", 422, "invalid_request"),
    ],
)
def test_what_cannot_be_scored_is_a_problem(
    web: Api, content: bytes, query: str, status: int, code: str
) -> None:
    """Each with its code; nothing of the file is repeated."""
    answer = post(web, content, query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_not_a_number_in_a_file_is_a_problem(web: Api) -> None:
    """A float file may hold anything."""
    file = io.BytesIO()
    soundfile.write(file, np.array([0.0, np.nan, 0.5] * 4000), 8000, format="WAV", subtype="FLOAT")
    answer = post(web, file.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (422, "recording_not_finite")


def test_a_form_without_a_file_is_a_problem(web: Api) -> None:
    """A text field named `file` is not a file; a broken form is refused."""
    answer = web.request("POST", "/v1/score", files={"other": ("x.wav", recording(0.5))})
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_file")
    headers = {"Content-Type": "multipart/form-data"}
    answer = web.request("POST", "/v1/score", content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_recording_that_is_too_long_is_refused(bundle: Path) -> None:
    """413 before it is worked on."""
    with api(make_settings(bundle, upload={"max_duration_s": 2.0})) as web:
        answer = post(web, recording(3.0))
        assert (answer.status_code, answer.json()["code"]) == (413, "recording_too_long")


def test_too_many_recordings_at_a_time_are_refused(bundle: Path) -> None:
    """503 with a time to wait, and a free place is given again."""
    with api(make_settings(bundle, upload={"max_pending": 1})) as web:
        with web.services.uploads.place():
            answer = post(web, recording(0.5))
            assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
            assert answer.headers["retry-after"] == "5"
        assert post(web, recording(0.5)).status_code == 200
