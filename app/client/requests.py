"""Every question that the clients can ask, as a function that makes a `Request`. `docs/rest.md` says what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.client.shapes import (
    Call,
    CallReport,
    Erasure,
    Feedback,
    Line,
    Page,
    Ready,
    ReceiptKey,
    Records,
    ServedModel,
    Shape,
    Stats,
    Utterance,
    UtteranceDetail,
)
from app.client.told_shapes import (
    Alert,
    AlertRule,
    DeadLetter,
    Endpoint,
    MadeEndpoint,
    Ping,
    Redriven,
)
from app.client.wire import Request, Time, body_of, page_of, path_of, query_of

PAGE = 200


def calls(
    *,
    line: str | None = None,
    state: str | None = None,
    team: str | None = None,
    outcome: str | None = None,
    since: Time = None,
    until: Time = None,
    limit: int = PAGE,
) -> Request[Page[Call]]:
    """Calls, latest start first; `since` and `until` bound the start."""
    query = query_of(
        line=line, state=state, team=team, outcome=outcome, since=since, until=until, limit=limit
    )
    return Request("GET", "/v1/calls", page_of(Call), query)


def call(call_id: str) -> Request[CallReport]:
    """One call: timeline, legs, summary."""
    return Request("GET", path_of("/v1/calls/{call_id}", call_id=call_id), CallReport)


def records(call_id: str, *, from_seq: int | None = None, limit: int = PAGE) -> Request[Records]:
    """A page of a call's records, with the gaps in it."""
    path = path_of("/v1/calls/{call_id}/utterances", call_id=call_id)
    return Request("GET", path, Records, query_of(from_seq=from_seq, limit=limit))


def utterances(call_id: str, *, limit: int = PAGE) -> Request[Page[Utterance]]:
    """A call's records, in order."""
    path = path_of("/v1/calls/{call_id}/utterances", call_id=call_id)
    return Request("GET", path, Records, query_of(limit=limit))


def pause(call_id: str) -> Request[None]:
    """Stops listening to a live call."""
    path = path_of("/v1/calls/{call_id}/pause", call_id=call_id)
    return Request("POST", path, repeatable=True)


def resume(call_id: str) -> Request[None]:
    """Listens to a live call again."""
    path = path_of("/v1/calls/{call_id}/resume", call_id=call_id)
    return Request("POST", path, repeatable=True)


def utterance(utterance_id: str) -> Request[UtteranceDetail]:
    """One record, and where its call came from."""
    return Request("GET", path_of("/v1/utterances/{id}", id=utterance_id), UtteranceDetail)


def give_feedback(
    utterance_id: str,
    label: str,
    *,
    confidence: float | None = None,
    note: str | None = None,
    labeller: str | None = None,
) -> Request[Feedback]:
    """Labels an utterance; a later label of the same labeller replaces an earlier one."""
    body = body_of(label=label, confidence=confidence, note=note, labeller=labeller)
    path = path_of("/v1/utterances/{id}/feedback", id=utterance_id)
    return Request("POST", path, Feedback, body=body, repeatable=True)


def take_feedback_back(utterance_id: str, *, labeller: str | None = None) -> Request[None]:
    """Removes a label."""
    path = path_of("/v1/utterances/{id}/feedback", id=utterance_id)
    return Request("DELETE", path, query=query_of(labeller=labeller))


def feedback(
    *, utterance_id: str | None = None, call_id: str | None = None, limit: int = PAGE
) -> Request[Page[Feedback]]:
    """Labels: of one utterance, of one call, or all."""
    query = query_of(limit=limit)
    if utterance_id is not None:
        path = path_of("/v1/utterances/{id}/feedback", id=utterance_id)
        return Request("GET", path, page_of(Feedback), query)
    return Request("GET", "/v1/feedback", page_of(Feedback), query | query_of(call_id=call_id))


def stats(
    *,
    since: Time = None,
    until: Time = None,
    bucket: str = "1h",
    tz: str = "UTC",
    group_by: Sequence[str] = (),
    **filters: str,
) -> Request[Stats]:
    """How customers sounded over time. filters: `line`, `team`, `emotion`, `outcome`."""
    groups = ",".join(group_by) or None
    query = query_of(since=since, until=until, bucket=bucket, tz=tz, group_by=groups, **filters)
    return Request("GET", "/v1/stats", Stats, query)


def export(what: str, form: str, filters: Mapping[str, Any]) -> Request[None]:
    """A file: `calls`, `utterances` or `feedback`, as `jsonl`, `csv` or `parquet`."""
    return Request("GET", path_of("/v1/exports/{what}", what=what), query=query_of(format=form, **filters))


def lines(*, limit: int = PAGE) -> Request[Page[Line]]:
    """Line profiles, by name."""
    return Request("GET", "/v1/lines", page_of(Line), query_of(limit=limit))


def line(name: str) -> Request[Line]:
    """One line."""
    return Request("GET", path_of("/v1/lines/{line}", line=name), Line)


def export_profile(name: str) -> Request[Shape]:
    """A line's profile, whole: `model_dump()` is what `import_profile` takes."""
    return Request("GET", path_of("/v1/lines/{line}/profile", line=name), Shape)


def import_profile(name: str, profile: Mapping[str, Any]) -> Request[Line]:
    """Puts a profile in the place of a line's."""
    path = path_of("/v1/lines/{line}/profile", line=name)
    return Request("PUT", path, Line, body=dict(profile))


def freeze_line(name: str) -> Request[Line]:
    """Stops a line's learning."""
    return Request("POST", path_of("/v1/lines/{line}/freeze", line=name), Line, repeatable=True)


def unfreeze_line(name: str) -> Request[Line]:
    """Lets a line learn."""
    return Request("POST", path_of("/v1/lines/{line}/unfreeze", line=name), Line, repeatable=True)


def reset_line(name: str) -> Request[Line]:
    """Forgets what a line learned."""
    return Request("POST", path_of("/v1/lines/{line}/reset", line=name), Line, repeatable=True)


def erase_call(call_id: str) -> Request[Erasure]:
    """Erases an ended call everywhere; the answer holds the receipt, or says what it waits for."""
    return Request("DELETE", path_of("/v1/calls/{call_id}", call_id=call_id), Erasure)


def erase(
    *, call_id: str | None = None, subject: str | None = None, when_ended: bool | None = None
) -> Request[Erasure]:
    """Erases a call, or everything of a subject."""
    body = body_of(call_id=call_id, subject=subject, when_ended=when_ended)
    return Request("POST", "/v1/erasures", Erasure, body=body, repeatable=True)


def erasures(*, limit: int = PAGE) -> Request[Page[Erasure]]:
    """Erasures and their receipts, latest first."""
    return Request("GET", "/v1/erasures", page_of(Erasure), query_of(limit=limit))


def erasure(erasure_id: str) -> Request[Erasure]:
    """One erasure."""
    return Request("GET", path_of("/v1/erasures/{id}", id=erasure_id), Erasure)


def receipt_key() -> Request[ReceiptKey]:
    """The key that checks receipts."""
    return Request("GET", "/v1/erasures/key", ReceiptKey)


def endpoints() -> Request[Page[Endpoint]]:
    """Webhook endpoints, the oldest first."""
    return Request("GET", "/v1/webhook-endpoints", page_of(Endpoint))


def endpoint(endpoint_id: str) -> Request[Endpoint]:
    """One webhook endpoint."""
    return Request("GET", path_of("/v1/webhook-endpoints/{id}", id=endpoint_id), Endpoint)


def make_endpoint(
    url: str,
    *,
    which: Mapping[str, Any] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Request[MadeEndpoint]:
    """A new webhook endpoint. which: its filter."""
    body = body_of(url=url, filter=which, description=description, enabled=enabled)
    return Request("POST", "/v1/webhook-endpoints", MadeEndpoint, body=body)


def change_endpoint(
    endpoint_id: str,
    *,
    url: str | None = None,
    which: Mapping[str, Any] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Request[Endpoint]:
    """Changes what is given of a webhook endpoint."""
    body = body_of(url=url, filter=which, description=description, enabled=enabled)
    path = path_of("/v1/webhook-endpoints/{id}", id=endpoint_id)
    return Request("PATCH", path, Endpoint, body=body, repeatable=True)


def delete_endpoint(endpoint_id: str) -> Request[None]:
    """Removes a webhook endpoint."""
    return Request("DELETE", path_of("/v1/webhook-endpoints/{id}", id=endpoint_id))


def rotate_secret(endpoint_id: str, *, overlap_s: int | None = None) -> Request[MadeEndpoint]:
    """Replaces a webhook endpoint's secret."""
    path = path_of("/v1/webhook-endpoints/{id}/rotate", id=endpoint_id)
    return Request("POST", path, MadeEndpoint, body=body_of(overlap_s=overlap_s))


def ping_endpoint(endpoint_id: str) -> Request[Ping]:
    """Sends a `ping` to a webhook endpoint now."""
    return Request("POST", path_of("/v1/webhook-endpoints/{id}/test", id=endpoint_id), Ping)


def dead_letters(*, endpoint_id: str | None = None, limit: int = PAGE) -> Request[Page[DeadLetter]]:
    """Deliveries that were given up, the oldest event first."""
    query = query_of(limit=limit, endpoint_id=endpoint_id)
    return Request("GET", "/v1/dead-letters", page_of(DeadLetter), query)


def redrive_letter(letter_id: str) -> Request[DeadLetter]:
    """Sends a dead letter again."""
    path = path_of("/v1/dead-letters/{id}/redrive", id=letter_id)
    return Request("POST", path, DeadLetter, repeatable=True)


def redrive_letters(endpoint_id: str) -> Request[Redriven]:
    """Sends an endpoint's dead letters again, at most 1,000 at a time."""
    body = {"endpoint_id": endpoint_id}
    return Request("POST", "/v1/dead-letters/redrive", Redriven, body=body, repeatable=True)


def delete_letter(letter_id: str) -> Request[None]:
    """Removes a dead letter."""
    return Request("DELETE", path_of("/v1/dead-letters/{id}", id=letter_id))


def alert_rules() -> Request[Page[AlertRule]]:
    """Alert rules, the oldest first."""
    return Request("GET", "/v1/alert-rules", page_of(AlertRule))


def make_alert_rule(kind: str, **members: Any) -> Request[AlertRule]:
    """A new alert rule, with the members that its kind has."""
    return Request("POST", "/v1/alert-rules", AlertRule, body={"kind": kind, **members})


def replace_alert_rule(rule_id: str, kind: str, **members: Any) -> Request[AlertRule]:
    """Replaces an alert rule, whole."""
    path = path_of("/v1/alert-rules/{id}", id=rule_id)
    return Request("PUT", path, AlertRule, body={"kind": kind, **members})


def delete_alert_rule(rule_id: str) -> Request[None]:
    """Removes an alert rule."""
    return Request("DELETE", path_of("/v1/alert-rules/{id}", id=rule_id))


def alerts(
    *,
    call_id: str | None = None,
    kind: str | None = None,
    rule_id: str | None = None,
    limit: int = PAGE,
) -> Request[Page[Alert]]:
    """Alerts, the latest first, as far back as the feed goes."""
    query = query_of(call_id=call_id, kind=kind, rule_id=rule_id, limit=limit)
    return Request("GET", "/v1/alerts", page_of(Alert), query)


def models() -> Request[Page[ServedModel]]:
    """The bundles in service."""
    return Request("GET", "/v1/models", page_of(ServedModel))


def ready() -> Request[Ready]:
    """How the service stands; also while it is draining."""
    return Request("GET", "/readyz", Ready, also=frozenset({503}))


def announce(uuid: str, registration: Mapping[str, Any]) -> Request[None]:
    """Says what the AudioSocket call with this UUID is."""
    path = path_of("/v1/ingest/audiosocket/{uuid}", uuid=uuid)
    return Request("PUT", path, body=dict(registration))
