"""Health says what serves, and stops asking for calls before the end."""

from __future__ import annotations

import asyncio

from app.api.protocol import LineBody, Listing, ReadyBody, ServedModelBody
from tests.support.service import Api
from tests.support.tiny_bundle import CATEGORIES


def test_ready_names_what_serves(web: Api) -> None:
    """The bundle, its form and its device."""
    answer = web.get("/readyz")
    ready = ReadyBody.model_validate(answer.json())
    assert answer.status_code == 200
    assert (ready.status, ready.bundle, ready.provider, ready.store) == ("ready", "tiny", "cpu", "ok")


def test_draining_is_not_ready_but_alive(web: Api) -> None:
    """503 tells a balancer to look elsewhere; the process is not restarted for it."""
    asyncio.run(web.services.registry.drain(1))
    answer = web.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    assert web.get("/livez").json() == {"status": "alive"}


def test_models_and_lines_are_listed(web: Api) -> None:
    """The categories in order, and a line once it has been heard."""
    body = web.get("/v1/models").json()
    Listing[ServedModelBody].model_validate(body)
    assert body["items"][0]["categories"] == list(CATEGORIES)
    assert web.get("/v1/lines").json() == {"items": [], "next": None}
    profiles = web.services.engine.parts.profiles
    profiles.update("trunk-1", [0.5] * profiles.dim)
    body = web.get("/v1/lines").json()
    Listing[LineBody].model_validate(body)
    assert (body["items"][0]["id"], body["items"][0]["n"]) == ("trunk-1", 1)
    assert body["items"][0]["drift"] > 0


def test_metrics_are_prometheus_text(web: Api) -> None:
    """With the version that scrapers expect."""
    answer = web.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'kowairo_bundle_info{name="tiny",provider="cpu"' in answer.text
