"""The Grafana dashboard, made from the metrics: `make dashboard` writes it to `deploy/grafana/kowairo.json`.

A metric gets into the dashboard by a line of `PANELS`. One that nobody should look at gets a line of `NO_PANEL`, with
the reason. Making the dashboard fails for a metric that has neither, and for a line whose metric is gone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.telemetry.metrics import Metrics

PREFIX = "kowairo_"
_ALL = '{job="$job",instance=~"$instance"}'
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 24


@dataclass(frozen=True, slots=True)
class Query:
    """What is shown of a metric. Queries with the same row and title share a panel.

    row, title: where. unit: Grafana's name of the unit. expr: PromQL, where `%` stands for the choice of instances and
    `[5m]` for the stretch to average over. legend: how a line is named; Grafana fills in labels.
    """

    row: str
    title: str
    unit: str
    expr: str
    legend: str


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}%[5m]))" if by else f"sum(rate({metric}%[5m]))"


def _quantiles(row: str, title: str, metric: str) -> tuple[Query, ...]:
    return tuple(
        Query(
            row,
            title,
            "s",
            f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket%[5m])))",
            f"p{q * 100:g}",
        )
        for q in (0.5, 0.95, 0.99)
    )


def _rates(row: str, title: str, metric: str, by: str, legend: str, unit: str = "ops") -> tuple[Query, ...]:
    return (Query(row, title, unit, _rate(f"{metric}_total", by), legend),)


def _gauge(row: str, title: str, unit: str, expr: str, legend: str) -> tuple[Query, ...]:
    return (Query(row, title, unit, expr, legend),)


PANELS: Mapping[str, tuple[Query, ...]] = {
    "kowairo_calls_active": _gauge(
        "Calls", "Calls in progress", "short", "kowairo_calls_active%", "{{instance}}"
    ),
    "kowairo_calls": _rates("Calls", "Calls that ended", "kowairo_calls", "outcome", "{{outcome}}"),
    "kowairo_sheds": _rates("Calls", "Turned away", "kowairo_sheds", "what", "{{what}}"),
    "kowairo_draining": _gauge(
        "Calls", "Instances that drain", "short", "sum(kowairo_draining%)", "draining"
    ),
    "kowairo_carrier_connections": _rates(
        "Calls",
        "Connections of telephone systems",
        "kowairo_carrier_connections",
        "carrier, outcome",
        "{{carrier}} {{outcome}}",
    ),
    "kowairo_ingest_refused": _rates(
        "Calls",
        "Telephone systems refused",
        "kowairo_ingest_refused",
        "carrier, code",
        "{{carrier}} {{code}}",
    ),
    "kowairo_audio_seconds": _rates(
        "Audio", "Legs heard (seconds of audio a second)", "kowairo_audio_seconds", "leg", "{{leg}}", "none"
    ),
    "kowairo_packets": _rates("Audio", "Audio messages", "kowairo_packets", "", "messages"),
    "kowairo_gap_seconds": _gauge(
        "Audio",
        "Audio that never came",
        "percentunit",
        f"{_rate('kowairo_gap_seconds_total', 'leg')} / {_rate('kowairo_audio_seconds_total', 'leg')}",
        "{{leg}}",
    ),
    "kowairo_audio_outcome_seconds": _rates(
        "Audio",
        "What became of the audio",
        "kowairo_audio_outcome_seconds",
        "outcome, reason",
        "{{outcome}} {{reason}}",
        "none",
    ),
    "kowairo_line_events": _rates("Audio", "Not speech", "kowairo_line_events", "kind", "{{kind}}"),
    "kowairo_backlog_seconds": _gauge(
        "Audio", "Audio that waits", "s", "kowairo_backlog_seconds%", "{{instance}}"
    ),
    "kowairo_utterance_latency_seconds": _quantiles(
        "Scores", "End of an utterance to its record", "kowairo_utterance_latency_seconds"
    ),
    "kowairo_utterances": (
        *_rates("Scores", "Utterances by emotion", "kowairo_utterances", "emotion", "{{emotion}}"),
        *_rates("Scores", "Utterances by outcome", "kowairo_utterances", "outcome", "{{outcome}}"),
    ),
    "kowairo_events": _rates("Scores", "Laughter and the like", "kowairo_events", "event", "{{event}}"),
    "kowairo_encoder_batch_size": _gauge(
        "Scores",
        "Utterances in one encoder run",
        "short",
        f"{_rate('kowairo_encoder_batch_size_sum', '')} / {_rate('kowairo_encoder_batch_size_count', '')}",
        "mean",
    ),
    "kowairo_line_drift_max": _gauge(
        "Scores",
        "Farthest line from the bundle's population",
        "none",
        "max(kowairo_line_drift_max%)",
        "drift",
    ),
    "kowairo_bundle": _gauge(
        "Scores",
        "Bundle in service",
        "short",
        "count by (name, version, variant, provider) (kowairo_bundle_info%)",
        "{{name}} {{version}} {{variant}} on {{provider}}",
    ),
    "kowairo_store_up": _gauge(
        "Store", "Instances whose store is away", "short", "sum(1 - kowairo_store_up%)", "away"
    ),
    "kowairo_store_errors": _rates(
        "Store", "Store operations that failed", "kowairo_store_errors", "operation", "{{operation}}"
    ),
    "kowairo_records": _rates("Store", "Records", "kowairo_records", "durable", "durable: {{durable}}"),
    "kowairo_spool_bytes": _gauge("Store", "Spool on disk", "bytes", "kowairo_spool_bytes%", "{{instance}}"),
    "kowairo_spool_max_bytes": _gauge(
        "Store", "Spool on disk", "bytes", "min(kowairo_spool_max_bytes% > 0)", "most it may be"
    ),
    "kowairo_spool_records": _gauge(
        "Store", "Changes that wait in the spool", "short", "kowairo_spool_records%", "{{instance}}"
    ),
    "kowairo_spool_refused": _rates(
        "Store", "Changes lost by the spool", "kowairo_spool_refused", "instance", "{{instance}}"
    ),
    "kowairo_erasures": _rates("Store", "Erasures", "kowairo_erasures", "", "erasures"),
    "kowairo_live_subscribers": _gauge(
        "Delivery", "Live feeds", "short", "sum(kowairo_live_subscribers%)", "open"
    ),
    "kowairo_live_events_dropped": _rates(
        "Delivery", "Live events not delivered", "kowairo_live_events_dropped", "", "feed too slow"
    ),
    "kowairo_live_relay_dropped": _rates(
        "Delivery", "Live events not delivered", "kowairo_live_relay_dropped", "", "not to other processes"
    ),
    "kowairo_live_missed": _rates(
        "Delivery", "Live events not delivered", "kowairo_live_missed", "", "not held any more"
    ),
    "kowairo_webhook_deliveries": _rates(
        "Delivery", "Attempts at webhooks", "kowairo_webhook_deliveries", "outcome", "{{outcome}}"
    ),
    "kowairo_webhook_delivery_seconds": _quantiles(
        "Delivery", "Time of an attempt at a webhook", "kowairo_webhook_delivery_seconds"
    ),
    "kowairo_webhook_dead_letters": _gauge(
        "Delivery", "Deliveries given up", "short", "max(kowairo_webhook_dead_letters%)", "dead letters"
    ),
    "kowairo_alerts": _rates("Delivery", "Alerts on records", "kowairo_alerts", "kind", "{{kind}}"),
    "kowairo_http_requests": _rates(
        "Access", "Requests", "kowairo_http_requests", "status", "{{status}}", "reqps"
    ),
    "kowairo_http_request_seconds": (
        Query(
            "Access",
            "Time to answer, p99",
            "s",
            "histogram_quantile(0.99, sum by (le, route) (rate(kowairo_http_request_seconds_bucket%[5m])))",
            "{{route}}",
        ),
    ),
    "kowairo_access_refused": _rates(
        "Access", "Refused", "kowairo_access_refused", "reason", "{{reason}}", "reqps"
    ),
    "kowairo_rate_limited": _rates(
        "Access", "Over the limit", "kowairo_rate_limited", "what", "{{what}}", "reqps"
    ),
    "kowairo_audit_entries": _rates("Access", "Audit log", "kowairo_audit_entries", "", "written"),
    "kowairo_audit_refused": _rates(
        "Access", "Audit log", "kowairo_audit_refused", "", "reads refused for want of it"
    ),
    "kowairo_audit_waiting": _gauge(
        "Access", "Audit entries that wait", "short", "kowairo_audit_waiting%", "{{instance}}"
    ),
    "process_cpu_seconds": _rates(
        "Process", "Processor", "process_cpu_seconds", "instance", "{{instance}}", "none"
    ),
    "process_resident_memory_bytes": _gauge(
        "Process", "Memory", "bytes", "process_resident_memory_bytes%", "{{instance}}"
    ),
    "process_open_fds": _gauge("Process", "File descriptors", "short", "process_open_fds%", "{{instance}}"),
    "process_start_time_seconds": _gauge(
        "Process", "Running for", "s", "time() - process_start_time_seconds%", "{{instance}}"
    ),
}
"""Every metric by the name of its family, in the order of the dashboard; rows come in the order of their first line."""

NO_PANEL: Mapping[str, str] = {
    "kowairo_carrier_webhooks": "what telephone systems report of their streams explains a single call, not a trend",
}
"""Metrics of the service that have no panel, and why."""


def dashboard(families: Iterable[str]) -> dict[str, Any]:
    """The dashboard for these metrics, ready for Grafana to import or to be provisioned with.

    Args:
        families: names of every metric family that the service exposes.

    Raises:
        ValueError: a `kowairo_` metric has neither a panel nor a reason, or both, or is not exposed.
    """
    known = set(families)
    own = {name for name in known if name.startswith(PREFIX)}
    both = PANELS.keys() & NO_PANEL.keys()
    forgotten = own - PANELS.keys() - NO_PANEL.keys()
    gone = {name for name in PANELS.keys() | NO_PANEL.keys() if name.startswith(PREFIX)} - known
    if both or forgotten or gone:
        raise ValueError(
            f"without panel or reason: {sorted(forgotten)}; not exposed: {sorted(gone)}; twice: {sorted(both)}"
        )
    return {
        "uid": "kowairo",
        "title": "Kowairo",
        "tags": ["kowairo"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    yield {
        "name": "job",
        "label": "Installation",
        "type": "query",
        "datasource": source,
        "query": "label_values(kowairo_calls_active, job)",
        "refresh": 2,
    }
    yield {
        "name": "instance",
        "label": "Instance",
        "type": "query",
        "datasource": source,
        "query": 'label_values(kowairo_calls_active{job="$job"}, instance)',
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
    }


def _panels() -> Iterator[dict[str, Any]]:
    rows: dict[str, dict[str, list[Query]]] = {}
    for queries in PANELS.values():
        for query in queries:
            rows.setdefault(query.row, {}).setdefault(query.title, []).append(query)
    number, top = 0, 0
    for row, panels in rows.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
        }
        top += 1
        for place, (title, shared) in enumerate(panels.items()):
            number += 1
            down, across = divmod(place * _WIDTH, _COLUMNS)
            yield _panel(number, title, shared, {"x": across, "y": top + down * _HEIGHT})
        top += _HEIGHT * -(-len(panels) * _WIDTH // _COLUMNS)


def _panel(number: int, title: str, queries: list[Query], place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {**place, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": queries[0].unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": query.expr.replace("%", _ALL).replace("[5m]", "[$__rate_interval]"),
                "legendFormat": query.legend,
            }
            for index, query in enumerate(queries)
        ],
    }


def dashboard_text() -> str:
    """The dashboard of this version as JSON text."""
    families = [family.name for family in Metrics().registry.collect()]
    return json.dumps(dashboard(families), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(dashboard_text())
