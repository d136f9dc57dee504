"""Limits: too much is told as such, with when to come again, and takes nothing from anybody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.access.principal import SITE, Principal, Scope
from app.api.auth import limit_problem, limit_wire_error
from app.api.limits import CALL_AGAIN_S, Limits, TenantLimitError
from app.settings import LimitsSettings
from app.telemetry.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.service import Api, api, make_settings
from tests.support.tenants import Tenants, make_tenants

CALLS = "/v1/calls"


@pytest.fixture
def clock() -> FakeClock:
    """Moved by hand."""
    return FakeClock()


@pytest.fixture
def tenants(tmp_path: Path) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path)


@pytest.fixture
def limited(bundle: Path, tenants: Tenants, clock: FakeClock) -> Iterator[Api]:
    """Two requests a second, five at once."""
    limits = {"requests_per_s": 2, "request_burst": 5}
    with api(make_settings(bundle, **tenants.groups, limits=limits), clock) as running:
        yield running


def count(metrics: Metrics, what: str) -> float:
    """How much was too much."""
    return metrics.registry.get_sample_value("kowairo_rate_limited_total", {"what": what}) or 0.0


def test_too_many_requests_are_told_when_to_come_again(
    limited: Api, tenants: Tenants, clock: FakeClock
) -> None:
    """429 with `Retry-After`; every answer says what is left; other keys and other tenants are not touched."""
    alpha, beta = tenants.all
    left = []
    for _ in range(5):
        answer = limited.get(CALLS, headers=alpha.headers())
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"requests";q=5;w=3'
        left.append(answer.headers["ratelimit"].split(";")[1])
    assert left == ["r=4", "r=3", "r=2", "r=1", "r=0"]
    answer = limited.get(CALLS, headers=alpha.headers())
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit"] == '"requests";r=0;t=3'
    assert limited.get(CALLS, headers=alpha.headers(Scope.READ_SCORES)).status_code == 200
    assert limited.get(CALLS, headers=beta.headers()).status_code == 200
    clock.advance(0.5)
    assert limited.get(CALLS, headers=alpha.headers()).status_code == 200
    assert limited.get(CALLS, headers=alpha.headers()).status_code == 429
    assert count(limited.services.metrics, "requests") == 2


def test_a_request_counts_once_however_many_checks_its_route_has(limited: Api, tenants: Tenants) -> None:
    """And one without the scope counts too: it cost as much."""
    headers = tenants.all[0].headers(Scope.LABEL)
    for _ in range(5):
        assert limited.get(CALLS, headers=headers).status_code == 403
    assert limited.get(CALLS, headers=headers).status_code == 429


def test_health_and_metrics_are_not_limited(limited: Api) -> None:
    """Whoever watches the service need not have a key."""
    answers = [limited.get("/livez") for _ in range(7)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("ratelimit" in answer.headers for answer in answers)


def test_where_nobody_needs_credentials_nobody_is_limited(bundle: Path, clock: FakeClock) -> None:
    """There is one user then, on this machine."""
    limits = {"requests_per_s": 1, "request_burst": 1}
    with api(make_settings(bundle, limits=limits), clock) as running:
        assert [running.get(CALLS).status_code for _ in range(5)] == [200] * 5


def test_a_site_may_do_without(bundle: Path, tenants: Tenants, clock: FakeClock) -> None:
    """No limit, no headers."""
    with api(make_settings(bundle, **tenants.groups, limits={"requests_per_s": None}), clock) as running:
        answer = running.get(CALLS, headers=tenants.all[0].headers())
    assert answer.status_code == 200
    assert "ratelimit" not in answer.headers


def limits_of(clock: FakeClock, **settings: object) -> tuple[Limits, Metrics]:
    """Limits with these settings."""
    metrics = Metrics()
    return Limits(LimitsSettings.model_validate(settings), clock, metrics), metrics


def test_audio_is_metered_by_tenant(clock: FakeClock) -> None:
    """A minute's worth at once, then as fast as it is allowed; a longer recording is paid for afterwards."""
    limits, metrics = limits_of(
        clock, audio_seconds_per_minute=120, tenants={"vip": {"audio_seconds_per_minute": 6000}}
    )
    assert all(limits.audio("alpha", 0.02) for _ in range(5999))
    assert limits.audio("alpha", 60)
    assert not limits.audio("alpha", 0.02)
    assert count(metrics, "audio") == 1
    with pytest.raises(TenantLimitError) as refused:
        limits.check_audio("alpha")
    assert refused.value.what == "audio"
    assert refused.value.retry_after_s == pytest.approx(30, abs=0.1)
    assert limits.audio("beta", 1)
    assert all(limits.audio("vip", 1) for _ in range(6000))
    clock.advance(31)
    limits.check_audio("alpha")
    assert limits.audio("alpha", 0.02)


def test_audio_without_a_limit(clock: FakeClock) -> None:
    """Any amount."""
    limits, _ = limits_of(clock)
    assert limits.audio("alpha", 1e9)
    limits.check_audio("alpha")


def test_calls_at_a_time_are_limited_by_tenant(clock: FakeClock) -> None:
    """A place is given back however the call ends."""
    limits, metrics = limits_of(clock, calls=2, tenants={"beta": {"calls": 1}})
    with limits.call("alpha"), limits.call("alpha"):
        with pytest.raises(TenantLimitError) as refused, limits.call("alpha"):
            pass
        assert (refused.value.what, refused.value.retry_after_s) == ("calls", CALL_AGAIN_S)
        with limits.call("beta"), pytest.raises(TenantLimitError), limits.call("beta"):
            pass
    with pytest.raises(ValueError, match="broken"), limits.call("alpha"):
        raise ValueError("broken")
    with limits.call("alpha"), limits.call("alpha"):
        pass
    assert count(metrics, "calls") == 2


def test_a_call_of_a_tenant_that_owes_audio_is_not_taken(clock: FakeClock) -> None:
    """It would be ended at once."""
    limits, _ = limits_of(clock, audio_seconds_per_minute=60)
    assert limits.audio("alpha", 600)
    with pytest.raises(TenantLimitError), limits.call("alpha"):
        pass


@pytest.mark.parametrize("what", ["audio", "calls"])
def test_a_limit_is_told(what: str) -> None:
    """As a problem, and as the end of a socket with when to come again in its reason."""
    error = TenantLimitError(what, 2.5)
    problem, wire = limit_problem(error), limit_wire_error(error)
    assert (problem.status, problem.code, problem.headers["Retry-After"]) == (429, "rate_limited", "3")
    assert (wire.close_code, wire.reason) == (1013, "rate_limited; retry-after=3")


def test_people_with_tokens_have_limits_of_their_own(clock: FakeClock) -> None:
    """Although their tokens come from one issuer."""
    limits, _ = limits_of(clock, requests_per_s=1, request_burst=1)
    for subject in ("ann", "bob"):
        taken = limits.request(Principal("alpha", subject, frozenset(), "token"))
        assert taken is not None
        assert taken.allowed
    assert limits_of(clock, requests_per_s=None)[0].request(SITE) is None
