"""What the service logs, as text, with the process's logging put back afterwards."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from app.telemetry.logs import configure_logs


@contextmanager
def logged(*, level: str = "info", as_json: bool = True) -> Iterator[io.StringIO]:
    """Logs go into the text while this lasts."""
    root, own = logging.getLogger(), logging.getLogger("app")
    before = root.handlers, root.level, own.level
    stream = io.StringIO()
    configure_logs(level=level, as_json=as_json, stream=stream)
    try:
        yield stream
    finally:
        root.handlers = before[0]
        root.setLevel(before[1])
        own.setLevel(before[2])
        structlog.reset_defaults()
