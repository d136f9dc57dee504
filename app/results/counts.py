"""What a store that may be away tells of itself, counted."""

from __future__ import annotations

from app.results.spool_files import Lost
from app.results.store_metrics import Refused, StoreState
from app.telemetry.metrics import Metrics


class StoreCounts:
    """A `StoreWatch` that counts in the service's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def state(self, state: StoreState) -> None:
        """How the store stands from now on."""
        self._metrics.store_up.set(state is not StoreState.AWAY)

    def spool(self, entries: int, size: int) -> None:
        """How many changes wait, and their bytes."""
        self._metrics.spool_records.set(entries)
        self._metrics.spool_bytes.set(size)

    def held(self, entries: int) -> None:
        """Seen in `spool`."""

    def carried_out(self, entries: int) -> None:
        """Seen in `spool`."""

    def refused(self, why: Refused, entries: int) -> None:
        """Changes that had been acknowledged were not carried out."""
        self._metrics.store_errors.labels(f"replay_{why.value}").inc(entries)

    def spool_lost(self, why: Lost, entries: int, size: int) -> None:
        """The spool gave entries up."""
        self._metrics.spool_refused.inc(entries)
        self._metrics.store_errors.labels(why.value).inc(max(entries, 1))
