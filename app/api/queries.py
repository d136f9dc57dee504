"""Query parameters: names that a route does not know are refused, for a misspelt filter must not give everything."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator

from app.api.deps import PrincipalDep
from app.results.store import CallNotFoundError

PAGE_MAX = 200
NAME = r"^[A-Za-z0-9._~-]{1,64}$"

CALL_ID = r"[A-Za-z0-9._~-]{1,128}"


def _call_id(text: str) -> str:
    if not re.fullmatch(CALL_ID, text):
        # Not a ValueError, so that what cannot be an id is answered as any other unknown one.
        raise CallNotFoundError("no call can have this id")
    return text


CallId = Annotated[str, Path(description="The call's id."), AfterValidator(_call_id)]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Most items on the page.")]
Cursor = Annotated[str | None, Query(max_length=4_096, description="`next` of the page before.")]
SeqNumber = Annotated[int | None, Query(ge=1, le=10**12, description="Begin with this number.")]
LineFilter = Annotated[str | None, Query(pattern=NAME, description="Only of this line.")]
TeamFilter = Annotated[str | None, Query(pattern=NAME, description="Only of this team.")]


def bad_query(name: str, problem: str) -> RequestValidationError:
    """The refusal of a query parameter's value, in the shape of every other one (422 `invalid_request`)."""
    return RequestValidationError(
        [{"type": "value_error", "loc": ("query", name) if name else ("query",), "msg": problem}]
    )


async def known_query(request: Request, _: PrincipalDep) -> None:
    """A dependency for routers: every query parameter is one that the route has, and is there once.

    After the credentials, so that a stranger learns nothing.

    Raises:
        RequestValidationError: another one, or one twice.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    if not given:
        return
    known = _names(request.scope["route"].dependant)
    strangers = sum(name not in known for name in given)
    if strangers:
        expected = ", ".join(sorted(known)) or "none"
        raise bad_query("", f"{strangers} unknown parameter(s); this route knows {expected}")
    for name in given:
        if given.count(name) > 1:
            raise bad_query(name, "expected it once")


def _names(dependant: Dependant) -> set[str]:
    """The query parameters of a route and of all it depends on."""
    found = {parameter.alias for parameter in dependant.query_params}
    for inner in dependant.dependencies:
        found |= _names(inner)
    return found
