"""`/v1/stats`: how customers sounded over time. Nobody is told apart, agents least of all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request, Response

from app.access.principal import Principal, Scope
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.etags import NOT_MODIFIED, cached, json_answer, list_etag
from app.api.protocol import Problem
from app.api.queries import LineFilter, TeamFilter, bad_query, known_query
from app.api.stats_bodies import StatsBody
from app.api.times import SpanDep, time_zone
from app.domain import AbstainReason
from app.results.series import (
    BucketSize,
    Dimension,
    LocalBuckets,
    Series,
    StatFilter,
    Stretch,
    TooManyRowsError,
    aligned,
    local_time,
)
from app.results.statistics import SCORED

DAY_S = 86_400.0
READ_S = 31 * DAY_S
"""How much time is read from the store at once."""

router = APIRouter(
    prefix="/v1",
    tags=["stats"],
    dependencies=[Depends(known_query)],
    responses={401: {"model": Problem}, 403: {"model": Problem}, 422: {"model": Problem}},
)
StatsReader = Annotated[Principal, Depends(requires(Scope.READ_STATS))]

_OUTCOMES = (SCORED, *AbstainReason)
_LABEL = r"^[^\x00-\x1f\x7f]{1,64}$"


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """What statistics are asked for, checked."""

    whole: Stretch
    size: BucketSize
    zone: ZoneInfo
    dimensions: tuple[Dimension, ...]
    which: StatFilter


def stat_filter(
    line: LineFilter = None,
    team: TeamFilter = None,
    emotion: Annotated[str | None, Query(pattern=_LABEL, description="Only with this emotion.")] = None,
    outcome: Annotated[
        str | None, Query(max_length=64, description="`scored`, or a reason of abstention.")
    ] = None,
) -> StatFilter:
    """Which utterances to count.

    Raises:
        RequestValidationError: no such outcome.
    """
    if outcome is not None and outcome not in _OUTCOMES:
        raise bad_query("outcome", f"expected one of {', '.join(_OUTCOMES)}")
    return StatFilter(line, team, emotion, outcome)


def stats_query(
    services: ServicesDep,
    span: SpanDep,
    which: Annotated[StatFilter, Depends(stat_filter)],
    bucket: Annotated[BucketSize, Query(description="How long the stretches are.")] = BucketSize.H1,
    tz: Annotated[str, Query(max_length=64, description="On whose clock, as in the tz database.")] = "UTC",
    group_by: Annotated[
        str, Query(max_length=64, description="Any of line, team, emotion, outcome, separated by commas.")
    ] = "",
) -> StatsQuery:
    """The query; without times, the last 24 hours.

    Raises:
        RequestValidationError: something of it cannot be used, or it spans too much time.
    """
    until = services.clock.now() if span.until is None else span.until
    whole = aligned(until - DAY_S if span.since is None else span.since, until)
    if whole.end < whole.start:
        raise bad_query("since", "expected a time that has been, or an `until` after it")
    if whole.end - whole.start > bucket.max_days * DAY_S + DAY_S / 24:  # a month may be an hour longer
        raise bad_query("since", f"expected at most {bucket.max_days} days in stretches of {bucket}")
    return StatsQuery(whole, bucket, time_zone(tz), dimensions(group_by), which)


def dimensions(text: str) -> tuple[Dimension, ...]:
    """What to tell apart, of a comma-separated list.

    Raises:
        RequestValidationError: something that is never told apart, or one twice.
    """
    names = [name.strip() for name in text.split(",")] if text else []
    known = [dimension.value for dimension in Dimension]
    if any(name not in known for name in names) or len(set(names)) != len(names):
        raise bad_query("group_by", f"expected any of {', '.join(known)}, each once; agents are never ranked")
    return tuple(Dimension(name) for name in names)


@router.get("/stats", summary="Statistics over time", response_model=StatsBody, responses=NOT_MODIFIED)
async def get_stats(
    request: Request,
    services: ServicesDep,
    principal: StatsReader,
    query: Annotated[StatsQuery, Depends(stats_query)],
) -> Response:
    """Sums, means and shares over customers' utterances, in stretches of a site's own clock.

    Days have 23 or 25 hours where the clock changes. Only stretches with anything in them are listed.
    """
    whole = query.whole
    etag = await list_etag(request, services, principal, whole.start, whole.end)
    unchanged = cached(request, etag)
    if unchanged is not None:
        return unchanged
    min_group = services.settings.stats.min_group
    series = Series(
        LocalBuckets(query.size, query.zone, whole), query.dimensions, query.which, min_group=min_group
    )
    await _collect(services, principal.tenant, whole, series)
    write = local_time(query.zone)
    items, withheld = await asyncio.to_thread(series.rows, write)
    body: dict[str, Any] = {
        "since": write(whole.start),
        "until": write(whole.end),
        "bucket": query.size.value,
        "tz": query.zone.key,
        "group_by": [dimension.value for dimension in query.dimensions],
        "min_group": min_group,
        "withheld": withheld,
        "items": items,
    }
    return json_answer(body, etag)


async def _collect(services: Services, tenant: str, whole: Stretch, series: Series) -> None:
    begin = whole.start
    while begin < whole.end:
        end = min(begin + READ_S, whole.end)
        found = await services.store.stats(tenant, since=begin, until=end)
        try:
            # In a thread: a month of a large site is much to sum up, and calls are live meanwhile.
            await asyncio.to_thread(series.add, found)
        except TooManyRowsError as error:
            detail = f"{error}: ask for longer buckets, less time or fewer groups"
            raise ProblemError(422, "too_many_rows", "The answer would be too long", detail) from None
        begin = end
