"""The room works by itself: it logs, finishes and sweeps while the service runs."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.privacy.desk import Privacy, build_privacy
from app.privacy.entries import AuditEntry, AuditQuery
from app.privacy.retention import Periods, Policy
from app.results.store import StoreError
from app.settings import PrivacySettings, Settings
from tests.privacy.support import OFFICER, Room, run, until


def built(room: Room, **groups: Any) -> Privacy:
    """The room as settings make it."""
    settings = Settings.model_validate(groups)
    stores: Any = (room.store, room.documents, room.queue, room.journal)
    return build_privacy(settings, stores, room.clock, room.metrics, owner="p1", told=room.note_erased)


def test_settings_reach_every_part() -> None:
    """The longest retention is the site's own time where nothing else is set."""
    room = Room()
    privacy = built(room, store={"ttl_s": 7_200}, labels={"ttl_s": 9_000})
    bounds = privacy.retention.bounds
    assert (bounds.default_calls_s, bounds.max_calls_s, bounds.feedback_s) == (7_200, 7_200, 9_000)
    assert (privacy.secrets.ephemeral, privacy.erasures.signer.key) == (True, "ephemeral")
    seed = b64encode(bytes(32)).decode()
    own = {"receipt_key": seed, "max_retention_s": 10_000, "digest_key": "a-digest-key-of-ours"}
    privacy = built(room, privacy=own)
    assert privacy.retention.bounds.max_calls_s == 10_000
    assert privacy.erasures.signer.key.startswith("ed25519:")


def test_receipts_that_outlive_their_key_are_warned_of() -> None:
    """A store that stays makes little sense with a key that does not."""
    with capture_logs() as logs:
        built(Room(), store={"url": "redis://h"})
        built(Room())
    assert [event["event"] for event in logs] == ["receipt_key_missing"]


@pytest.mark.parametrize("key", ["short", b64encode(bytes(31)).decode(), "\N{SNOWMAN}"])
def test_a_receipt_key_that_is_none_is_refused(key: str) -> None:
    """With the command that makes one; a digest key must not be guessed either."""
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        PrivacySettings.model_validate({"receipt_key": key})
    with pytest.raises(ValueError, match="digest_key"):
        PrivacySettings.model_validate({"digest_key": "short"})


def test_it_sweeps_and_logs_by_itself() -> None:
    """What is too old goes without being asked, and the log says how much that was."""

    async def scenario() -> None:
        room = Room()
        privacy = replace(built(room), sweep_s=0.0)
        await room.call("old")
        await privacy.retention.put("default", Policy(Periods(3_600)))
        room.clock.advance(7_200)

        async def gone() -> bool:
            return await room.held("old") == []

        failures = iter([StoreError("no"), None])
        tenants = room.memory.results.tenants

        async def sometimes() -> tuple[str, ...]:
            failure = next(failures, None)
            if failure is not None:
                raise failure
            return await tenants()

        room.memory.results.tenants = sometimes  # type: ignore[method-assign]
        async with privacy.running():
            await until(gone)
            privacy.audit.note(AuditEntry.by(OFFICER, "export", "*", "started", room.clock.now()))
        entries, _ = await privacy.audit.read("default", AuditQuery(), before=None, limit=9)
        logged = {str(entry.value["action"]): entry.value["detail"] for entry in entries}
        assert logged["retention.sweep"] == {"calls": 1}
        assert "export" in logged

    run(scenario())
