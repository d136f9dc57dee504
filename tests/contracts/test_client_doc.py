"""The page on the client: its examples run, and it names what there is."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import client
from app.client import Client
from app.main import build_services
from tests.contracts.seeded import hold_call, undelivering
from tests.support.live import on_server
from tests.support.server import eventually
from tests.support.service import ServerThread, make_settings, server
from tests.support.streams import customer_audio, play

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def live(bundle: Path) -> Iterator[ServerThread]:
    """A server."""
    settings = make_settings(bundle)
    with server(settings, undelivering(build_services(settings))) as running:
        yield running


def functions(example: str) -> dict[str, Any]:
    """What an example defines; it prints into `said`."""
    said: list[tuple[Any, ...]] = []
    found: dict[str, Any] = {"print": lambda *words: said.append(words), "said": said}
    exec(compile(example, "docs/client.md", "exec"), found)
    return found


def test_the_dashboard_is_short() -> None:
    """Ten lines, imports included."""
    lines = [line for line in EXAMPLES[0].splitlines() if line.strip()]
    assert len(lines) <= 10


def test_the_dashboard_shows_a_call(live: ServerThread) -> None:
    """As it happens: its beginning, its records, its end."""
    found = functions(EXAMPLES[0])

    async def watch() -> None:
        watching = asyncio.create_task(found["dashboard"](live.url, None))
        call = asyncio.to_thread(play, live.stream_url, customer_audio(6.5), call_id="one", line="here")
        await call
        await asyncio.to_thread(eventually, lambda: ("one", "call_ended", "here") in found["said"] or None)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(watch())
    assert ("one", "call_started", "here") in found["said"]
    assert any(words[0] == "one.customer.0000" for words in found["said"])


def test_the_report_is_made(live: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of a line, a problem's code, and a file."""
    monkeypatch.chdir(tmp_path)
    on_server(live, hold_call(live.services, "default"))
    found = functions(EXAMPLES[1])
    found["worst_calls"](live.url, None, "sales")
    assert found["said"] == [("a1", -0.5), ("call_not_found",)]
    assert (tmp_path / "utterances.parquet").read_bytes().startswith(b"PAR1")


def test_the_page_names_what_there_is() -> None:
    """Every method, every exception and every kind of event."""
    words = set(re.findall(r"\w+", PAGE))
    methods = {
        name for name, value in inspect.getmembers(Client) if callable(value) and not name.startswith("_")
    }
    assert methods - words == {"close", "send"}
    assert set(client.__all__) <= words
