"""Every metric of the design is declared, named in base units, and free of identities."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from app.telemetry.metrics import Metrics

DESIGN = {
    "kowairo_calls_active",
    "kowairo_calls",
    "kowairo_packets",
    "kowairo_audio_seconds",
    "kowairo_gap_seconds",
    "kowairo_utterances",
    "kowairo_events",
    "kowairo_line_events",
    "kowairo_audio_outcome_seconds",
    "kowairo_utterance_latency_seconds",
    "kowairo_encoder_batch_size",
    "kowairo_backlog_seconds",
    "kowairo_sheds",
    "kowairo_store_errors",
    "kowairo_bundle",
    "kowairo_http_requests",
    "kowairo_draining",
    "kowairo_line_drift_max",
    "kowairo_store_up",
    "kowairo_spool_bytes",
    "kowairo_spool_max_bytes",
    "kowairo_spool_records",
    "kowairo_spool_refused",
    "kowairo_records",
    "kowairo_erasures",
    "kowairo_live_missed",
    "kowairo_webhook_deliveries",
    "kowairo_webhook_delivery_seconds",
    "kowairo_webhook_dead_letters",
    "kowairo_alerts",
    "kowairo_access_refused",
    "kowairo_rate_limited",
}


def test_every_metric_of_the_design_is_exposed() -> None:
    """A scrape names them all, from the first moment."""
    metrics = Metrics()
    metrics.describe_bundle(name="tiny", version="1", variant="fp32", provider="cpu")
    families = {
        family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())
    }
    assert families.keys() >= DESIGN - {"kowairo_bundle"} | {"kowairo_bundle_info"}
    (sample,) = families["kowairo_bundle_info"].samples
    assert sample.labels == {"name": "tiny", "version": "1", "variant": "fp32", "provider": "cpu"}


def test_no_label_can_carry_an_identity() -> None:
    """Labels are closed sets: nothing of a call, a person or a number."""
    metrics = Metrics()
    allowed = {"outcome", "leg", "what", "emotion", "event", "operation", "method", "route", "status"}
    allowed |= {"kind", "reason", "carrier", "code", "durable"}
    own = [value for value in vars(metrics).values() if hasattr(value, "_labelnames")]
    assert len(own) >= 13
    assert {label for metric in own for label in metric._labelnames} <= allowed


def test_a_record_is_counted_by_what_it_names() -> None:
    """Emotion and outcome together; the event by itself, and only where there is one."""
    metrics = Metrics()
    metrics.count_utterance(emotion="angry", reason=None, event="laughter")
    metrics.count_utterance(emotion=None, reason="not_speech", event=None)
    value = metrics.registry.get_sample_value
    assert value("kowairo_utterances_total", {"emotion": "angry", "outcome": "scored"}) == 1
    assert value("kowairo_utterances_total", {"emotion": "", "outcome": "not_speech"}) == 1
    assert value("kowairo_events_total", {"event": "laughter"}) == 1


def test_what_alerts_watch_is_there_from_the_start() -> None:
    """Prometheus does not see a series rise that first appears at 1: the first shed call must not be missed."""
    value = Metrics().registry.get_sample_value
    for what in ("call", "upload", "subscriber"):
        assert value("kowairo_sheds_total", {"what": what}) == 0
    for outcome in ("completed", "disconnected", "drained", "idle", "slow_reader", "rejected", "failed"):
        assert value("kowairo_calls_total", {"outcome": outcome}) == 0
    for durable in ("true", "false"):
        assert value("kowairo_records_total", {"durable": durable}) == 0


def test_two_services_in_one_process_count_apart() -> None:
    """There is no global registry."""
    one, other = Metrics(), Metrics()
    one.calls_active.inc()
    assert one.registry.get_sample_value("kowairo_calls_active") == 1
    assert other.registry.get_sample_value("kowairo_calls_active") == 0
