"""Every Prometheus metric, declared once. Base units; no call id, number or score in a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A series that first appears at 1 never rose for Prometheus: what alerts watch is there at 0 from the start.
_CALL_OUTCOMES = (
    "completed",
    "disconnected",
    "drained",
    "idle",
    "slow_reader",
    "rejected",
    "failed",
    "interrupted",
)
_SHED = ("call", "upload", "subscriber")
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
_HTTP_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_DELIVERY_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one service, on their own registry (so that two can live in one process)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._declare_calls()
        self._declare_inference()
        self._declare_doors()
        self._declare_store()
        self._declare_delivery()
        self._declare_access()
        self._declare_privacy()

    def _declare_calls(self) -> None:
        registry = self.registry
        self.calls_active = Gauge("kowairo_calls_active", "Calls in progress.", registry=registry)
        self.calls = Counter("kowairo_calls", "Calls that ended, by how.", ["outcome"], registry=registry)
        for outcome in _CALL_OUTCOMES:
            self.calls.labels(outcome)
        self.packets = Counter("kowairo_packets", "Audio messages received.", registry=registry)
        self.audio_seconds = Counter(
            "kowairo_audio_seconds", "Seconds of audio received, by leg.", ["leg"], registry=registry
        )
        self.gap_seconds = Counter(
            "kowairo_gap_seconds",
            "Seconds of audio that never came and were filled, by leg.",
            ["leg"],
            registry=registry,
        )
        self.audio_outcome_seconds = Counter(
            "kowairo_audio_outcome_seconds",
            "Seconds of ended calls by what became of them (scored, silence, rejected, lost), and why rejected.",
            ["leg", "outcome", "reason"],
            registry=registry,
        )
        self.backlog_seconds = Gauge(
            "kowairo_backlog_seconds",
            "Seconds of received audio that wait to be worked on.",
            registry=registry,
        )
        self.sheds = Counter(
            "kowairo_sheds",
            "Calls and subscribers turned away because a limit was reached.",
            ["what"],
            registry=registry,
        )
        for what in _SHED:
            self.sheds.labels(what)
        self.draining = Gauge(
            "kowairo_draining",
            "1 while the service takes no new calls because it shuts down.",
            registry=registry,
        )

    def _declare_inference(self) -> None:
        registry = self.registry
        self.utterances = Counter(
            "kowairo_utterances",
            "Utterances, by emotion (empty when abstained) and outcome (scored, or the reason).",
            ["emotion", "outcome"],
            registry=registry,
        )
        self.events = Counter(
            "kowairo_events",
            "Utterances in which something without words is named, by what (the bundle's list: laughter, cough ...).",
            ["event"],
            registry=registry,
        )
        self.line_events = Counter(
            "kowairo_line_events",
            "What was heard that is not speech, by kind (tone, or the bundle's list: music, prompt, noise ...).",
            ["kind"],
            registry=registry,
        )
        self.utterance_latency = Histogram(
            "kowairo_utterance_latency_seconds",
            "From the arrival of the packet that ended an utterance to its record.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.encoder_batch_size = Histogram(
            "kowairo_encoder_batch_size",
            "Utterances in one encoder run.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.line_drift_max = Gauge(
            "kowairo_line_drift_max",
            "Largest distance of a line's profile from the bundle's population, in its standard deviations.",
            registry=registry,
        )
        self.bundle = Info("kowairo_bundle", "The bundle in service.", registry=registry)

    def _declare_doors(self) -> None:
        registry = self.registry
        self.carrier_connections = Counter(
            "kowairo_carrier_connections",
            "Connections of telephone systems that ended, by how.",
            ["carrier", "outcome"],
            registry=registry,
        )
        self.carrier_webhooks = Counter(
            "kowairo_carrier_webhooks",
            "Webhooks of telephone systems, by what they say of a stream.",
            ["carrier", "event"],
            registry=registry,
        )
        self.ingest_refused = Counter(
            "kowairo_ingest_refused",
            "Connections of telephone systems refused before they were accepted, by code.",
            ["carrier", "code"],
            registry=registry,
        )
        self.http_requests = Counter(
            "kowairo_http_requests",
            "HTTP requests, by route.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.http_seconds = Histogram(
            "kowairo_http_request_seconds",
            "Time to answer an HTTP request, by route.",
            ["route"],
            buckets=_HTTP_BUCKETS,
            registry=registry,
        )

    def _declare_store(self) -> None:
        registry = self.registry
        self.store_errors = Counter(
            "kowairo_store_errors", "Store operations that failed.", ["operation"], registry=registry
        )
        self.store_up = Gauge(
            "kowairo_store_up", "1 while the store answers, 0 while not.", registry=registry
        )
        self.store_up.set(1)
        self.records = Counter(
            "kowairo_records",
            "Records handed to the store, by whether they were told to be durable.",
            ["durable"],
            registry=registry,
        )
        for durable in ("true", "false"):
            self.records.labels(durable)
        self.spool_bytes = Gauge(
            "kowairo_spool_bytes", "Bytes on disk that wait for the store.", registry=registry
        )
        self.spool_max_bytes = Gauge(
            "kowairo_spool_max_bytes",
            "Bytes that the spool may take on disk; 0 where there is no spool.",
            registry=registry,
        )
        self.spool_records = Gauge(
            "kowairo_spool_records", "Changes on disk that wait for the store.", registry=registry
        )
        self.spool_refused = Counter(
            "kowairo_spool_refused",
            "Changes that the spool gave up because it was full, or could not write.",
            registry=registry,
        )
        self.erasures = Counter("kowairo_erasures", "Erasures carried out.", registry=registry)

    def _declare_delivery(self) -> None:
        registry = self.registry
        self.live_subscribers = Gauge("kowairo_live_subscribers", "Open live feeds.", registry=registry)
        self.live_relay_dropped = Counter(
            "kowairo_live_relay_dropped",
            "Passing live events that did not reach other processes.",
            registry=registry,
        )
        self.live_dropped = Counter(
            "kowairo_live_events_dropped", "Events not delivered to a slow live feed.", registry=registry
        )
        self.live_missed = Counter(
            "kowairo_live_missed",
            "Events that a live feed asked for and that are not held any more.",
            registry=registry,
        )
        self.webhook_deliveries = Counter(
            "kowairo_webhook_deliveries",
            "Attempts to deliver to a webhook, by how they ended.",
            ["outcome"],
            registry=registry,
        )
        self.webhook_delivery_seconds = Histogram(
            "kowairo_webhook_delivery_seconds",
            "Time that one attempt to deliver to a webhook took.",
            buckets=_DELIVERY_BUCKETS,
            registry=registry,
        )
        self.webhook_dead_letters = Gauge(
            "kowairo_webhook_dead_letters",
            "Deliveries that were given up and wait for somebody to send them again.",
            registry=registry,
        )
        self.alerts = Counter(
            "kowairo_alerts",
            "Alerts on records that were raised, by kind of rule.",
            ["kind"],
            registry=registry,
        )

    def _declare_access(self) -> None:
        registry = self.registry
        self.access_refused = Counter(
            "kowairo_access_refused", "Requests and sockets refused, by why.", ["reason"], registry=registry
        )
        self.rate_limited = Counter(
            "kowairo_rate_limited",
            "Requests and audio refused because a key used up its rate, by what is limited.",
            ["what"],
            registry=registry,
        )

    def _declare_privacy(self) -> None:
        registry = self.registry
        self.audit_entries = Counter(
            "kowairo_audit_entries", "Entries written to the audit logs.", registry=registry
        )
        self.audit_waiting = Gauge(
            "kowairo_audit_waiting", "Entries of the audit logs that wait to be written.", registry=registry
        )
        self.audit_refused = Counter(
            "kowairo_audit_refused",
            "Reads refused because they could not be logged.",
            registry=registry,
        )

    def count_utterance(self, *, emotion: str | None, reason: str | None, event: str | None) -> None:
        """Counts one record: what it names, or why it names nothing."""
        self.utterances.labels(emotion or "", reason or "scored").inc()
        if event is not None:
            self.events.labels(event).inc()

    def describe_bundle(self, *, name: str, version: str, variant: str, provider: str) -> None:
        """Publishes which bundle is in service, and on what it runs."""
        self.bundle.info({"name": name, "version": version, "variant": variant, "provider": provider})

    def exposition(self) -> bytes:
        """Everything, in the Prometheus text format."""
        return generate_latest(self.registry)
