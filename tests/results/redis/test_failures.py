"""Every failure of redis-py becomes one of the store's, and quotes nothing."""

from __future__ import annotations

import pytest
from redis import exceptions as errors

from app.results.redis.failures import CAUGHT, told
from app.results.store import StoreAwayError, StoreError

SECRET = "hunter2"
AWAY = [
    errors.ConnectionError(SECRET),
    errors.TimeoutError(SECRET),
    TimeoutError(SECRET),
    ConnectionResetError(SECRET),
    errors.BusyLoadingError(SECRET),
    errors.AuthenticationError(SECRET),
    errors.NoPermissionError(SECRET),
    errors.ReadOnlyError(SECRET),
    errors.OutOfMemoryError(SECRET),
    errors.ClusterDownError(SECRET),
    errors.MasterDownError(SECRET),
    errors.ClusterError(SECRET),
    errors.MaxConnectionsError(SECRET),
    errors.InvalidResponse(SECRET),
    errors.ResponseError(f"MISCONF {SECRET}"),
    errors.ResponseError(f"NOREPLICAS {SECRET}"),
    errors.ResponseError(f"BUSY {SECRET}"),
    errors.RedisError(SECRET),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_redis_that_does_not_serve_is_away(error: Exception) -> None:
    """Whatever keeps Redis from serving is the same to whoever asks: it is away, for a reason without secrets."""
    assert isinstance(error, CAUGHT)
    found = told(error)
    assert isinstance(found, StoreAwayError)
    assert SECRET not in str(found)


@pytest.mark.parametrize("text", [f"WRONGTYPE {SECRET}", f"ERR {SECRET}", SECRET, ""])
def test_a_refusal_is_no_absence(text: str) -> None:
    """What Redis refuses though it serves would be refused again; it is another error."""
    found = told(errors.ResponseError(text))
    assert type(found) is StoreError
    assert SECRET not in str(found)
