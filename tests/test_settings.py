"""Settings come from the environment, checked, and every refusal names its variable."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.settings import BundleSettings, PolicySettings, Settings, SettingsError, load_settings

KEY = "a-key-of-enough-letters"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("KOWAIRO")]:
        monkeypatch.delenv(name)


def test_defaults_are_development_on_loopback_without_keys() -> None:
    """Nothing need be configured to try the service."""
    settings = load_settings()
    assert (settings.mode, settings.host, settings.port) == ("development", "127.0.0.1", 8000)
    assert settings.listens_on_loopback
    assert not settings.needs_key
    assert settings.bundle.resolved_path().parts[-3:] == ("models", "bundles", "kowairo-8k")


def test_groups_are_joined_by_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable sets one value and leaves its group's other defaults."""
    monkeypatch.setenv("KOWAIRO_STORE__TTL_S", "60")
    monkeypatch.setenv("KOWAIRO_BUNDLE__PATH", "elsewhere")
    settings = load_settings()
    assert settings.store.ttl_s == 60
    assert settings.store.max_calls == 2_000
    assert str(settings.bundle.resolved_path()) == "elsewhere"


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line's --port beats KOWAIRO_PORT."""
    monkeypatch.setenv("KOWAIRO_PORT", "9000")
    assert load_settings().port == 9000
    assert load_settings(port=9001).port == 9001


def test_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt mode must not leave the service in development mode."""
    monkeypatch.setenv("KOWAIRO_MOED", "production")
    with pytest.raises(SettingsError, match="KOWAIRO_MOED is not a setting"):
        load_settings()


def test_unknown_name_in_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name inside a group is named in full."""
    monkeypatch.setenv("KOWAIRO_STORE__TTL", "60")
    with pytest.raises(SettingsError, match="KOWAIRO_STORE__TTL: "):
        load_settings()


@pytest.mark.parametrize(
    "name", ["KOWAIRO_SERVICE_HOST", "KOWAIRO_SERVICE_PORT_HTTP", "KOWAIRO_PORT_8000_TCP_ADDR"]
)
def test_what_kubernetes_injects_is_ignored(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A Service named kowairo in the namespace does not stop the pod."""
    monkeypatch.setenv(name, "10.0.0.1")
    assert load_settings().port == 8000


@pytest.mark.parametrize("text", [f"{KEY},{KEY}2", f'["{KEY}", "{KEY}2"]', f" {KEY} , {KEY}2,"])
def test_keys_are_a_list_in_json_or_with_commas(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Both ways of writing several keys work."""
    monkeypatch.setenv("KOWAIRO_AUTH__API_KEYS", text)
    keys = load_settings().auth.api_keys
    assert [key.get_secret_value() for key in keys] == [KEY, f"{KEY}2"]


def test_short_key_is_refused_without_quoting_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal never prints a secret."""
    monkeypatch.setenv("KOWAIRO_AUTH__API_KEYS", "hunter2")
    with pytest.raises(SettingsError, match="at least 16 printable") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_production_without_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Production refuses to start open."""
    monkeypatch.setenv("KOWAIRO_MODE", "production")
    with pytest.raises(SettingsError, match="KOWAIRO_AUTH__API_KEYS"):
        load_settings()
    monkeypatch.setenv("KOWAIRO_AUTH__API_KEYS", KEY)
    assert load_settings().needs_key


def test_secrets_are_hidden_in_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m app config` can be pasted anywhere."""
    monkeypatch.setenv("KOWAIRO_AUTH__API_KEYS", KEY)
    settings = load_settings()
    assert KEY not in json.dumps(settings.in_force())
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rediss+cluster://kowairo:hunter2@redis:6379", "rediss+cluster://***@redis:6379"),
        ("redis://:hunter2@redis:6379/0", "redis://***@redis:6379/0"),
        ("redis://:hunter2@hunter2@redis:6379/0", "redis://***@redis:6379/0"),
        ("unix:///run/redis.sock?db=0&password=hunter2", "unix:///run/redis.sock?db=0&password=***"),
        ("redis://redis?password=hunter2&db=1", "redis://redis?password=***&db=1"),
        ("memory://", "memory://"),
    ],
)
def test_the_password_of_the_store_is_hidden(monkeypatch: pytest.MonkeyPatch, url: str, shown: str) -> None:
    """Wherever the address of a Redis has it."""
    monkeypatch.setenv("KOWAIRO_STORE__URL", url)
    settings = load_settings()
    assert settings.store.url == url
    assert settings.in_force()["store"]["url"] == shown
    assert "hunter2" not in repr(settings)


def test_an_address_that_is_no_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, and without quoting it."""
    monkeypatch.setenv("KOWAIRO_STORE__URL", "http://:hunter2@redis")
    with pytest.raises(SettingsError, match="KOWAIRO_STORE__URL") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-Infinity", "-1"])
def test_impossible_cost_is_refused_by_cell(monkeypatch: pytest.MonkeyPatch, cost: str) -> None:
    """A NaN in a cost matrix is found at start-up and its cell named."""
    monkeypatch.setenv("KOWAIRO_POLICY__COST_MATRIX", f'{{"angry": {{"neutral": {cost}}}}}')
    with pytest.raises(SettingsError, match=r"KOWAIRO_POLICY__COST_MATRIX: cell \[angry\]\[neutral\]"):
        load_settings()


def test_broken_json_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON that does not parse names its variable."""
    monkeypatch.setenv("KOWAIRO_POLICY__COST_MATRIX", '{"angry": ')
    with pytest.raises(SettingsError, match="KOWAIRO_POLICY__COST_MATRIX"):
        load_settings()
    monkeypatch.delenv("KOWAIRO_POLICY__COST_MATRIX")
    monkeypatch.setenv("KOWAIRO_LINES", "{")
    with pytest.raises(SettingsError, match="lines"):
        load_settings()


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), st.floats(min_value=0, allow_infinity=False))))
def test_finite_costs_are_taken_as_they_are(cells: dict[str, dict[str, float]]) -> None:
    """Any matrix of finite costs of at least 0 is a matrix."""
    assert PolicySettings(cost_matrix=cells).cost_matrix == cells


def test_line_settings_fall_back_to_the_defaults() -> None:
    """A line that is not configured is an ordinary line."""
    settings = Settings.model_validate({"lines": {"eu": {"require_consent": True}}})
    assert settings.line("eu").require_consent
    assert not settings.line("elsewhere").require_consent


def test_store_smaller_than_the_number_of_live_calls_is_refused() -> None:
    """A live call is never evicted, so the store must hold them all."""
    with pytest.raises(ValidationError, match="KOWAIRO_STORE__MAX_CALLS"):
        Settings.model_validate({"store": {"max_calls": 3}, "stream": {"max_calls": 4}})


def test_values_never_change() -> None:
    """Settings are read once."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        BundleSettings().variant = "int8"  # type: ignore[misc]
