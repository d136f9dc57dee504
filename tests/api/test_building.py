"""Parts are made as the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.building import make_stores, salt_of, tracer_of
from app.settings import Settings, SettingsError
from app.telemetry.metrics import Metrics
from tests.support.clock import FakeClock


def settings_with(**groups: object) -> Settings:
    """Settings in which only these groups differ from the defaults."""
    return Settings.model_validate(groups)


def test_the_room_of_the_spool_is_published(tmp_path: Path) -> None:
    """Alerts compare what waits with it; without a Redis there is none."""
    metrics = Metrics()
    make_stores(settings_with(), FakeClock(), metrics)
    assert metrics.registry.get_sample_value("kowairo_spool_max_bytes") == 0
    store = {"url": "redis://127.0.0.1:1", "spool_path": tmp_path, "spool_max_bytes": 1 << 20}
    make_stores(settings_with(store=store), FakeClock(), metrics)
    assert metrics.registry.get_sample_value("kowairo_spool_max_bytes") == 1 << 20


def test_an_address_that_cannot_be_read_is_refused_by_name() -> None:
    """What the pattern lets through, redis-py may still refuse."""
    with pytest.raises(SettingsError, match="KOWAIRO_STORE__URL"):
        make_stores(settings_with(store={"url": "redis://h:no-port"}), FakeClock(), Metrics())


def test_the_salt_is_the_sites_own_or_new() -> None:
    """Processes that share one name a call alike."""
    own = settings_with(tracing={"salt": "pepper"})
    assert salt_of(own) == salt_of(own) == b"pepper"
    assert salt_of(settings_with()) != salt_of(settings_with())


def test_traces_are_off_unless_they_are_asked_for() -> None:
    """A tracer that is off records nothing."""
    with tracer_of(settings_with()).span("anything") as span:
        assert span.context is None
