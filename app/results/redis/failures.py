"""What redis-py raises, told in the words of the store; nothing of it gets out, nor what it quotes."""

from __future__ import annotations

from redis import exceptions as errors

from app.results.store import StoreAwayError, StoreError
from app.telemetry.logs import get_logger

_CLASSES: tuple[tuple[type[BaseException], str], ...] = (
    (errors.TimeoutError, "no answer in time"),
    (TimeoutError, "no answer in time"),
    (errors.AuthenticationError, "the credentials are refused"),
    (errors.AuthorizationError, "the credentials are refused"),
    (errors.NoPermissionError, "the credentials do not allow it"),
    (errors.BusyLoadingError, "loading its data"),
    (errors.MaxConnectionsError, "too many connections"),
    (errors.ConnectionError, "no connection"),
    (OSError, "no connection"),
    (errors.ReadOnlyError, "read-only"),
    (errors.OutOfMemoryError, "its memory is full"),
    (errors.ClusterDownError, "the cluster is down"),
    (errors.MasterDownError, "the master is down"),
    (errors.ClusterError, "the cluster cannot be reached"),
    (errors.RedisClusterException, "the cluster cannot be reached"),
)
_CODES = {
    "OOM": "its memory is full",
    "MISCONF": "it cannot write to its disk",
    "NOREPLICAS": "too few replicas",
    "NOAUTH": "the credentials are refused",
    "WRONGPASS": "the credentials are refused",
    "NOPERM": "the credentials do not allow it",
    "READONLY": "read-only",
    "LOADING": "loading its data",
    "BUSY": "busy with a script",
    "UNKILLABLE": "busy with a script",
    "MASTERDOWN": "the master is down",
    "CLUSTERDOWN": "the cluster is down",
    "TRYAGAIN": "the cluster moves data",
}
CAUGHT = (errors.RedisError, errors.RedisClusterException, OSError, TimeoutError)
"""Everything that redis-py and the network may raise."""

_LOG = get_logger(__name__)


def told(error: BaseException) -> StoreError:
    """The error of the store for one of `CAUGHT`: away, or, for what should never happen, refused."""
    for kind, reason in _CLASSES:
        if isinstance(error, kind):
            return StoreAwayError(f"Redis does not serve: {reason}")
    code = str(error).split(" ", 1)[0]
    if code in _CODES:
        return StoreAwayError(f"Redis does not serve: {_CODES[code]}")
    if isinstance(error, errors.ResponseError):
        # Its text may quote what was sent.
        _LOG.error("redis_refused", code=code if code.isalpha() and code.isupper() else "unknown")
        return StoreError("Redis refused a command")
    _LOG.error("redis_failed", kind=type(error).__name__)
    return StoreAwayError("Redis does not serve: something unexpected")
