"""Examples in the OpenAPI document. Tests send each of them to a service that holds the call `a1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CALL_ID = "a1"
UTTERANCE_ID = "a1.customer.0000"

PARAMETERS: Mapping[str, Any] = {
    "call_id": CALL_ID,
    "utterance_id": UTTERANCE_ID,
    "line": "sales",
    "key_id": "abcdefghijklmnop",
    "endpoint_id": "we_0123456789abcdef01234567",
    "letter_id": "dl_1795860000000_0123456789abcdef",
    "rule_id": "ar_0123456789abcdef01234567",
    "erasure_id": "0123456789abcdef",
    "uuid": "40325ec2-5efd-4bd3-805f-53576e581d13",
    "since": "2026-11-28T00:00:00Z",
    "until": "2026-11-29T00:00:00Z",
    "tz": "Europe/Paris",
    "group_by": "line,team",
}
"""By the parameter's name."""

BODIES: Mapping[str, Any] = {
    "erase": {"subject": "crm:8f2c"},
    "give_feedback": {
        "label": "angry",
        "confidence": 0.9,
        "note": "irony in the second half",
        "labeller": "rater-7",
    },
    "make_key": {"name": "crm", "scopes": ["read:scores"], "expires_at": "2099-01-31T00:00:00Z"},
    "rotate_key": {"overlap_s": 86_400},
    "make_endpoint": {
        "url": "https://crm.example.com/hooks/kowairo",
        "filter": {"types": ["alert", "call_ended"], "lines": ["sales"]},
    },
    "change_endpoint": {"enabled": False},
    "rotate_secret": {"overlap_s": 3_600},
    "redrive_letters": {"endpoint_id": "we_0123456789abcdef01234567"},
    "make_rule": {"kind": "emotion", "emotion": "angry", "min_score": 0.6, "for_s": 10, "leg": "customer"},
    "replace_rule": {"kind": "valence", "below": -0.5, "for_s": 20, "line": "sales", "cooldown_s": 300},
    "put_retention": {"calls_s": 86_400, "lines": {"sales": {"calls_s": 3_600}}},
    "name_object": {"call_id": CALL_ID},
    "announce_audiosocket_call": {"leg": "customer", "line": "trunk-1", "consent": True},
}
"""Of a request, by operation."""

_RECORD = {
    "call_id": CALL_ID,
    "seq": 1,
    "leg": "customer",
    "utterance_id": UTTERANCE_ID,
    "start_s": 0.4,
    "end_s": 3.1,
    "scores": {"angry": 0.71, "neutral": 0.29},
    "emotion": "angry",
    "event": None,
    "event_score": None,
    "abstained": False,
    "reason": None,
    "detail": None,
    "not_speech_kind": None,
    "not_speech_name": None,
    "confidence": 0.71,
    "arousal": 0.6,
    "valence": -0.5,
    "expected_cost": 0.29,
    "salience": None,
    "model": {"bundle": "kowairo-8k", "version": "1.0.0", "head": "default"},
    "line_profile": {"id": "sales", "n": 812},
    "audio_quality": {
        "snr_db": 21.5,
        "clipped": 0.0,
        "packet_loss": 0.0,
        "level_dbfs": -23.1,
        "concealed": 0.0,
        "codec": "pcm_mulaw/8000",
        "jitter_ms": 1.2,
    },
    "latency_ms": 61.0,
    "created_at": "2026-11-28T09:00:03.161Z",
    "durable": True,
}

MESSAGES: Mapping[str, Any] = {
    "client.start": {
        "type": "start",
        "encoding": "pcm_mulaw",
        "sample_rate": 8000,
        "channels": ["customer", "agent"],
        "call_id": CALL_ID,
        "line": "sales",
        "team": "north",
    },
    "client.mark": {"type": "mark", "name": "transfer to billing"},
    "client.flush": {"type": "flush"},
    "client.pause": {"type": "pause"},
    "client.resume": {"type": "resume"},
    "client.stop": {"type": "stop"},
    "service.utterance": {"type": "utterance", **_RECORD},
    "service.mark": {"type": "mark", "call_id": CALL_ID, "name": "transfer to billing"},
    "live.utterance": {**_RECORD, "type": "utterance", "position": 41},
    "live.keepalive": {"type": "keepalive", "seq": 24},
    "live.gap": {"type": "gap", "seq": None, "position": None, "from": 3, "to": 7},
    "event.utterance": _RECORD,
    "webhook.utterance": {"type": "utterance", "timestamp": "2026-11-28T09:00:03.161Z", "data": _RECORD},
}
"""Of the AsyncAPI document, by published name."""

RESPONSES: Mapping[str, Any] = {"get_utterance": {**_RECORD, "line": "sales", "team": "north"}}
"""Of answers, by operation."""
