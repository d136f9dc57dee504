"""Logs are structured and carry neither personal data nor secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telemetry.logs import drop_personal_data, get_logger
from tests.support.logs import logged


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log as text."""
    with logged() as stream:
        yield stream


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    """The log's lines as objects."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object(lines: io.StringIO) -> None:
    """A static name and its values, with time, level and service."""
    get_logger("app.test").info("call_ended", call_id="abc", utterances=3)
    (event,) = parsed(lines)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "call_ended",
        "call_id": "abc",
        "utterances": 3,
        "level": "info",
        "service": "kowairo",
    }


def test_personal_data_is_dropped(lines: io.StringIO) -> None:
    """Keys that could carry a person, a score or a secret never reach the log."""
    get_logger("app.test").info(
        "x",
        metadata={"n": 1},
        scores={"a": 1.0},
        pii_name="Ann",
        api_key="k",
        Phone="1",
        **{"pii.mail": "a@b"},
    )
    (event,) = parsed(lines)
    assert set(event) == {"event", "level", "timestamp", "service"}


def test_an_exception_keeps_its_type_and_place_but_not_its_message(lines: io.StringIO) -> None:
    """Messages of exceptions may quote input, so they are left out; the place is enough to find the fault."""
    try:
        raise ValueError("the caller said 555-1234")
    except ValueError:
        get_logger("app.test").exception("call_failed")
    (event,) = parsed(lines)
    assert event["error_type"] == "ValueError"
    assert event["error_at"][-1].startswith("test_logs.py:")
    assert "555" not in lines.getvalue()


def test_foreign_exceptions_are_cut_down_too(lines: io.StringIO) -> None:
    """What uvicorn logs of a failure in a request goes through the same sieve."""
    try:
        raise KeyError("555-1234")
    except KeyError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    (event,) = parsed(lines)
    assert event["error_type"] == "KeyError"
    assert "555" not in lines.getvalue()


def test_uvicorns_addresses_and_paths_are_not_logged(lines: io.StringIO) -> None:
    """Uvicorn's access lines quote the client's address; they are off."""
    logging.getLogger("uvicorn.access").info('%s - "GET %s"', "192.0.2.7", "/v1/calls/abc")
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "192.0.2.7", "/v1/stream")
    assert lines.getvalue() == ""


def test_people_get_lines_not_json() -> None:
    """In development the log is for reading."""
    with logged(level="debug", as_json=False) as stream:
        get_logger("app.test").debug("service_ready", port=8000)
    assert "service_ready" in stream.getvalue()
    assert "port=8000" in stream.getvalue()


def test_libraries_may_only_complain(lines: io.StringIO) -> None:
    """Other packages' chatter would quote messages and addresses; their warnings come through."""
    logging.getLogger("websockets.server").info("< TEXT '{}' [2 bytes]")
    logging.getLogger("httpx").warning("slow")
    assert [event["event"] for event in parsed(lines)] == ["slow"]


@given(st.dictionaries(st.text(), st.integers()))
def test_ordinary_keys_are_kept(event: dict[str, int]) -> None:
    """Only listed keys and the pii prefix are dropped."""
    kept = drop_personal_data(None, "info", dict(event))
    assert set(kept) <= set(event)
    assert all(key.lower().startswith("pii") or len(key) >= 5 for key in set(event) - set(kept))
