"""The problems that the service may answer with (RFC 9457)."""

from __future__ import annotations

from typing import Any

from tests.support.raw import Answer

CODES = frozenset(
    (
        *("alert_rule_not_found", "ambiguous_credentials", "audit_entry_not_found", "audit_unavailable"),
        *(
            "body_too_big",
            "call_active",
            "call_ended",
            "call_not_found",
            "carrier_not_configured",
            "conflict",
        ),
        *("credentials_unverifiable", "dead_letter_not_found", "duplicate_key", "endpoint_disabled"),
        *(
            "endpoint_not_found",
            "erasure_not_found",
            "export_running",
            "feedback_not_found",
            "foreign_origin",
        ),
        *("foreign_tenant", "invalid_cursor", "invalid_form", "invalid_json", "invalid_profile"),
        *("invalid_request", "invalid_signature", "key_not_found", "key_not_valid", "labeller_needed"),
        *("limit_reached", "line_frozen_by_settings", "line_not_found", "method_not_allowed", "missing_file"),
        *("missing_scope", "not_found", "rate_limited", "retention_out_of_bounds", "schema_not_found"),
        *("secret_in_query",),
        *("store_unavailable", "target_refused", "too_deep", "too_many_failures", "too_many_keys"),
        *("too_many_registrations", "too_many_rows", "unauthorized", "unknown_emotion", "unknown_host"),
        *("unknown_label", "unsupported_media_type", "utterance_not_found"),
    )
)
"""Every code but that of a failure of the service."""


def problem_of(answer: Answer) -> dict[str, Any]:
    """The problem that an answer is, checked."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    problem: dict[str, Any] = answer.json
    assert problem["code"] in CODES, problem
    assert problem["type"] == f"urn:kowairo:problem:{problem['code']}"
    assert problem["status"] == answer.status
    assert problem["title"]
    assert problem["detail"]
    assert b"Traceback" not in answer.body
    return problem
