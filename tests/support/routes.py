"""What an application answers to: every route, socket and folder, as a list that tests can walk."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from app.access.principal import Scope

SOCKET = "WS"
FOLDER = "FOLDER"
_LEFT_OUT = frozenset(("HEAD", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route. method: of HTTP, or `WS`, or `FOLDER` for mounted files. scope: which its dependencies demand.

    path_names, query_names: its parameters. has_body: whether it takes JSON.
    """

    method: str
    path: str
    scope: Scope | None = None
    path_names: tuple[str, ...] = ()
    query_names: frozenset[str] = frozenset()
    has_body: bool = False

    @property
    def name(self) -> str:
        """As tests name it: `GET /v1/calls`."""
        return f"{self.method} {self.path}"


def routes_of(app: FastAPI) -> list[RouteSpec]:
    """Every route of an application, in its order; one for each method."""
    found: list[RouteSpec] = []
    for context in iter_route_contexts(app.routes):
        kind, path = type(context.original_route).__name__, context.path or ""
        dependant: Dependant | None = getattr(context, "dependant", None)
        if kind == "Mount":
            methods = [FOLDER]
        elif kind == "APIWebSocketRoute":
            methods = [SOCKET]
        else:
            methods = sorted(set(context.methods or ()) - _LEFT_OUT)
        found += [_spec(method, path, dependant) for method in methods]
    return found


def _spec(method: str, path: str, dependant: Dependant | None) -> RouteSpec:
    names = tuple(part.partition("}")[0].partition(":")[0] for part in path.split("{")[1:])
    if dependant is None:
        return RouteSpec(method, path, path_names=names)
    everything = list(_with_dependencies(dependant))
    scopes = {_demanded(one.call) for one in everything} - {None}
    assert len(scopes) <= 1, f"{method} {path} demands {scopes}"
    return RouteSpec(
        method,
        path,
        next(iter(scopes), None),
        names,
        frozenset(field for one in everything for field in _query_names(one)),
        any(one.body_params for one in everything),
    )


def _with_dependencies(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _with_dependencies(inner)


def _demanded(call: Any) -> Scope | None:
    """The scope of `app.api.deps.requires`."""
    if getattr(call, "__qualname__", "") != "requires.<locals>.check":
        return None
    scope: Scope = inspect.getclosurevars(call).nonlocals["scope"]
    return scope


def _query_names(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        fields = getattr(model, "model_fields", None)
        yield from (parameter.alias,) if fields is None else fields
