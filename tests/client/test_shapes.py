"""The client's shapes are those of the service, so that neither can change alone."""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from app.api import (
    alert_bodies,
    call_bodies,
    feedback_bodies,
    hook_bodies,
    privacy_bodies,
    protocol,
    stats_bodies,
)
from app.client import shapes, told_shapes

SAME: dict[type[BaseModel], type[BaseModel]] = {
    shapes.Model: protocol.ModelBody,
    shapes.LineRef: protocol.LineRefBody,
    shapes.AudioQuality: protocol.AudioQualityBody,
    shapes.Utterance: protocol.UtteranceBody,
    shapes.UtteranceDetail: call_bodies.UtteranceDetailBody,
    shapes.Gap: call_bodies.GapBody,
    shapes.Records: call_bodies.RecordListing,
    shapes.Call: protocol.CallBody,
    shapes.TimelinePoint: protocol.TimelinePoint,
    shapes.LineEvent: protocol.LineEventBody,
    shapes.Share: call_bodies.AbstainedBody,
    shapes.Peak: call_bodies.PeakBody,
    shapes.Sound: call_bodies.SoundBody,
    shapes.LegSummary: call_bodies.LegSummaryBody,
    shapes.CallReport: call_bodies.CallReportBody,
    shapes.Feedback: feedback_bodies.FeedbackBody,
    shapes.EmotionStat: stats_bodies.EmotionStatBody,
    shapes.StatRow: stats_bodies.StatRowBody,
    shapes.Stats: stats_bodies.StatsBody,
    shapes.Line: protocol.LineBody,
    shapes.ServedModel: protocol.ServedModelBody,
    shapes.Ready: protocol.ReadyBody,
    shapes.Erasure: privacy_bodies.ErasureBody,
    shapes.ReceiptKey: privacy_bodies.ReceiptKeyBody,
    told_shapes.Endpoint: hook_bodies.EndpointBody,
    told_shapes.MadeEndpoint: hook_bodies.MadeEndpointBody,
    told_shapes.Ping: hook_bodies.PingBody,
    told_shapes.DeadLetter: hook_bodies.LetterBody,
    told_shapes.Redriven: hook_bodies.RedriveBody,
    told_shapes.AlertRule: alert_bodies.RuleBody,
    told_shapes.Alert: alert_bodies.AlertBody,
}


def members(shape: type[BaseModel]) -> dict[str, tuple[bool, bool]]:
    """By name: whether a member must be there, and whether it may be null."""
    return {
        name: (field.is_required(), NoneType in get_args(field.annotation))
        for name, field in shape.model_fields.items()
    }


@pytest.mark.parametrize("shape", SAME, ids=[shape.__name__ for shape in SAME])
def test_a_shape_has_the_members_of_the_services(shape: type[BaseModel]) -> None:
    """Their names, which must be there, and which may be null."""
    theirs = members(SAME[shape])
    if shape is told_shapes.Alert:
        theirs["position"] = (False, True)  # a live event has it beside the alert
    assert members(shape) == theirs


def test_every_shape_is_compared() -> None:
    """But for those that are only made of others."""
    own: set[Any] = {
        value
        for module in (shapes, told_shapes)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, shapes.Shape) and "[" not in value.__name__
    }
    assert own - set(SAME) == {shapes.Shape, shapes.Page}


def test_members_of_a_newer_service_are_kept() -> None:
    """They are no error, and are written again."""
    gap = shapes.Gap.model_validate({"from_seq": 1, "to_seq": 2, "new": [3]})
    assert gap.model_dump() == {"from_seq": 1, "to_seq": 2, "new": [3]}
