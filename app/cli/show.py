"""Messages of the service as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTH = 10
_WORTH_SHOWING = 0.01
_AUDIO = {"scored": "scored", "rejected": "not scored", "silence": "of silence", "lost": "lost"}


def utterance_line(record: Mapping[str, Any]) -> str:
    """One record on one line: when, who, what, how sure, and what else it might have been."""
    head = f"{record['start_s']:7.2f} - {record['end_s']:6.2f} s  {record['leg']:<8}  "
    if record["scores"] is None:
        return f"{head}{'not scored':<{_WIDTH}}  {_why(record)}"
    ranked = sorted(record["scores"].items(), key=lambda item: -item[1])
    if record["abstained"]:
        verdict = f"{'abstained':<{_WIDTH}}  {_why(record)}; "
    else:
        verdict = f"{record['emotion']:<{_WIDTH}} {_percent(record['confidence'])}  "
        ranked = ranked[1:]
    others = ", ".join(
        f"{category} {_percent(score).strip()}" for category, score in ranked[:2] if score >= _WORTH_SHOWING
    )
    plane = f"arousal {record['arousal']:+.2f}  valence {record['valence']:+.2f}"
    heard = f"  [{record['event']}]" if record.get("event") else ""
    return f"{head}{verdict}{plane}{heard}" + (f"  ({others})" if others else "")


def message_line(message: Mapping[str, Any]) -> str | None:
    """A message of the native protocol on one line; None for those that people need not see."""
    kind = message["type"]
    if kind == "utterance":
        return utterance_line(message)
    if kind == "interim":
        return f"{utterance_line(message)}  so far"
    if kind == "warning":
        return f"          warning: {message['code']}: {message['detail']}"
    if kind == "summary":
        return summary_line(message)
    return None


def summary_line(summary: Mapping[str, Any]) -> str:
    """Where the audio of a call went, a line for each leg."""
    lines = [f"The call lasted {summary['duration_s']:.1f} s."]
    for leg, part in summary["legs"].items():
        audio = part["audio"]
        shares = ", ".join(f"{audio[f'{kind}_s']:.1f} s {word}" for kind, word in _AUDIO.items())
        lines.append(f"  {leg}: {part['utterances']} utterances; {shares}")
    return "\n".join(lines)


def _why(record: Mapping[str, Any]) -> str:
    detail = record.get("detail")
    return str(record["reason"]) + (f": {detail}" if detail else "")


def _percent(share: float) -> str:
    return f"{100 * share:3.0f} %"
