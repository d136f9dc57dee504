"""Structured logs that carry no personal data.

An event is a static name with keys and values. Whatever a caller said, is, sent or was scored as has no
place here: such keys are dropped even if somebody passes them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import Processor

_PRIVATE_KEYS = frozenset(
    {
        "metadata",
        "scores",
        "emotion",
        "confidence",
        "arousal",
        "valence",
        "expected_cost",
        "salience",
        "record",
        "utterance",
        "payload",
        "audio",
        "phone",
        "number",
        "caller",
        "client",
        "authorization",
        "api_key",
        "headers",
        "query",
    }
)
_PRIVATE_PREFIX = "pii"
_OWN = "app"
"""The service's own loggers are below this one."""


def drop_personal_data(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Removes every key that could carry personal data or a secret (also any that begins with `pii`)."""
    for key in [
        key for key in event if key.lower() in _PRIVATE_KEYS or key.lower().startswith(_PRIVATE_PREFIX)
    ]:
        del event[key]
    return event


def name_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keeps of an exception its type and where it was raised, never its message: that may quote input."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error_type"] = type(error).__name__
        trace = error.__traceback__
        places = []
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}:{code.co_name}")
            trace = trace.tb_next
        event["error_at"] = places[-4:]
    return event


def configure_logs(*, level: str, as_json: bool, stream: TextIO | None = None) -> None:
    """Sends the service's and uvicorn's logs through one pipe. Called once, by whoever starts the process.

    Args:
        level: debug, info, warning or error.
        as_json: one JSON object per line, else lines for people.
        stream: where to write; stderr when None.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_exception,
        drop_personal_data,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _add_service, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries quote addresses, paths and, when debugging, whole messages: only their complaints are let in.
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN).setLevel(level.upper())


def _add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["service"] = "kowairo"
    return event


def get_logger(name: str) -> BoundLogger:
    """A logger; events are static names in snake_case, everything else goes into keys."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger
