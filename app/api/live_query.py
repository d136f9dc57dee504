"""What a viewer asks of a live feed: filters, and from where on."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from app.api.errors import ProblemError
from app.api.queries import CALL_ID, NAME, bad_query
from app.domain import Leg
from app.results.live_event import EVERYTHING, KEPT, PASSING, LiveFilter

LAST_NUMBER = 2**53 - 1
"""The largest number that every JSON reader can tell from its neighbours."""

ENDED = "-ended"
"""Behind the number in the id of a call's last event."""

_REPEATABLE = "type"
_LAST_ID = re.compile(rf"(\d{{1,16}})({ENDED})?", re.ASCII)

EventType = StrEnum("EventType", {name.upper(): name for name in sorted(KEPT | PASSING)})  # type: ignore[misc]
"""What can be asked for by `type`."""

Number = Annotated[int | None, Field(ge=1, le=LAST_NUMBER)]
Q = TypeVar("Q", bound="LiveQuery")


class LiveQuery(BaseModel):
    """Filters of every feed; an event passes when all that are given hold of it."""

    model_config = ConfigDict(extra="forbid")

    line: str | None = Field(default=None, pattern=NAME, description="Only of this line.")
    leg: Leg | None = Field(default=None, description="Only what is about this leg.")
    emotion: str | None = Field(
        default=None, pattern=NAME, description="Only records that name this emotion."
    )
    min_confidence: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Only records at least so confident."
    )
    min_expected_cost: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Only records whose expected cost is so high."
    )
    type: list[EventType] = Field(
        default=[], max_length=len(EventType), description="Only events of these types; may be repeated."
    )
    last_event_id: str | None = Field(
        default=None, max_length=32, description="As the header `Last-Event-ID`, for who cannot set one."
    )

    def filter(self, call_id: str | None) -> LiveFilter:
        """The filters as the publisher applies them."""
        which = LiveFilter(
            call_id=call_id,
            line=self.line,
            leg=None if self.leg is None else self.leg.value,
            emotion=self.emotion,
            min_confidence=self.min_confidence,
            min_expected_cost=self.min_expected_cost,
            types=frozenset(kind.value for kind in self.type),
        )
        return EVERYTHING if which == EVERYTHING else which


class CallQuery(LiveQuery):
    """What is asked of one call's feed."""

    from_seq: Number = Field(default=None, description="Records from this number on, then what happens.")


class FeedQuery(LiveQuery):
    """What is asked of a tenant's feed."""

    call_id: str | None = Field(default=None, pattern=rf"^{CALL_ID}$", description="Only of this call.")
    from_position: Number = Field(
        default=None, description="Everything from this position of the feed on, then what happens."
    )


def once(request: Request) -> None:
    """A dependency: every query parameter but `type` is there once.

    Raises:
        RequestValidationError: one is there twice.
    """
    for name in _repeated(request.query_params):
        raise bad_query(name, "expected it once")


def read_query(model: type[Q], params: QueryParams) -> Q:
    """The query of an upgrade, which FastAPI does not check.

    Raises:
        ProblemError: 422, a parameter that is not known, is there twice, or has a wrong value.
    """
    values: dict[str, Any] = {
        name: params.getlist(name) if name == _REPEATABLE else params[name] for name in params
    }
    faults = [f"query.{name}: expected it once" for name in _repeated(params) if name in model.model_fields]
    try:
        query = model.model_validate(values)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            known = str(fault["loc"][0]) in model.model_fields
            faults.append(f"query.{fault['loc'][0] if known else '(a name)'}: {fault['msg']}")
    if faults:
        detail = "; ".join(faults[:10])
        raise ProblemError(422, "invalid_request", "The request has a wrong value", detail)
    return query


def number_after(last_id: str) -> tuple[int, bool]:
    """The number after that of the last event a viewer saw, and whether that was the end of its call.

    Raises:
        ProblemError: 422, no id that this service gave.
    """
    found = _LAST_ID.fullmatch(last_id)
    if found is None or int(found[1]) > LAST_NUMBER:
        detail = "Last-Event-ID: expected the id of an event of this feed"
        raise ProblemError(422, "invalid_request", "The request has a wrong value", detail)
    return int(found[1]) + 1, found[2] is not None


def _repeated(params: QueryParams) -> list[str]:
    given = [name for name, _ in params.multi_items()]
    return sorted({name for name in given if name != _REPEATABLE and given.count(name) > 1})
