"""The routes of the API, declared once: the application dispatches by this table, and the OpenAPI document is made from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from contracts.records import Decision
from serving.keys import Scope
from serving.messages import (
    DecisionAnswer,
    DecisionRequest,
    DecisionsAnswer,
    DecisionsRequest,
    EventsRequest,
    Health,
    HookAnswer,
    OutcomesRequest,
    Receipt,
    Status,
)

_READS = (401, 403, 404, 422)
_WRITES = (401, 403, 404, 408, 409, 413, 415, 422, 503)


@dataclass(frozen=True)
class Route:
    """One operation.

    Attributes:
        name: its operation id, and its label in metrics.
        template: its path; a part in braces stands for one segment.
        takes, gives: types of the body; None for none, or for what is no JSON.
        scope: what its key needs; None for none at all.
        problems: the statuses of errors it may answer with.
        signed: its body is signed instead of sent with a key.
    """

    name: str
    method: str
    template: str
    summary: str
    takes: Any = None
    gives: Any = None
    scope: Scope | None = None
    status: int = 200
    problems: tuple[int, ...] = ()
    signed: bool = False
    gives_type: str = "application/json"

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The template's segments."""
        return tuple(self.template.strip("/").split("/"))


ROUTES = (
    Route(
        "hooks",
        "POST",
        "/v1/hooks/{name}",
        "Start a flow by a signed webhook",
        dict[str, Any],
        HookAnswer,
        status=202,
        problems=(401, 404, 408, 413, 415, 422, 503),
        signed=True,
    ),
    Route(
        "decisions",
        "POST",
        "/v1/{use_case}/decisions",
        "Decide what to show an entity now",
        DecisionRequest,
        DecisionAnswer,
        Scope.DECIDE,
        problems=_WRITES,
    ),
    Route(
        "decisions_batch",
        "POST",
        "/v1/{use_case}/decisions:batch",
        "Decide for many entities",
        DecisionsRequest,
        DecisionsAnswer,
        Scope.DECIDE,
        problems=_WRITES,
    ),
    Route("events", "POST", "/v1/{use_case}/events", "Send events", EventsRequest, Receipt, Scope.INGEST, problems=_WRITES),
    Route("outcomes", "POST", "/v1/{use_case}/outcomes", "Send outcomes", OutcomesRequest, Receipt, Scope.LABEL, problems=_WRITES),
    Route(
        "decision",
        "GET",
        "/v1/{use_case}/decisions/{decision_id}",
        "A decision's row of the log",
        None,
        Decision,
        Scope.READ,
        problems=(*_READS, 503),
    ),
    Route("status", "GET", "/v1/status", "What serves now, on the replica that answers", None, Status, Scope.READ, problems=(401, 403)),
    Route("health", "GET", "/healthz", "Whether the process lives", None, Health),
    Route("ready", "GET", "/readyz", "Whether decisions are answered", None, Health, problems=(503,)),
    Route("openapi", "GET", "/openapi.json", "This document", None, dict[str, Any], Scope.READ, problems=(401, 403)),
    Route("docs", "GET", "/docs", "This document as a page", scope=Scope.READ, problems=(401, 403), gives_type="text/html"),
    Route("index", "GET", "/", "Where to go", scope=Scope.READ, problems=(401, 403), gives_type="text/html"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """The route of a request, with the values of its braces."""

    route: Route
    values: Mapping[str, str]


_NONE: Mapping[str, str] = MappingProxyType({})
_FIXED = {(route.method, route.template): route for route in ROUTES if "{" not in route.template}
_OPEN = tuple(route for route in ROUTES if "{" in route.template)


def find(method: str, path: str) -> Found | tuple[str, ...]:
    """The route of a request; else the methods that its path has, which are none if there is no such path.

    Example:
        >>> found = find("POST", "/v1/game/events")
        >>> found.route.name, dict(found.values)
        ('events', {'use_case': 'game'})
        >>> find("PUT", "/healthz")
        ('GET',)
    """
    fixed = _FIXED.get((method, path))
    if fixed is not None:
        return Found(fixed, _NONE)
    parts = path.strip("/").split("/") if path.startswith("/v1/") else []
    for route in _OPEN:
        if route.method == method and (values := _match(route, parts)) is not None:
            return Found(route, values)
    return tuple(route.method for route in ROUTES if route.template == path or _match(route, parts) is not None)


def _match(route: Route, parts: list[str]) -> dict[str, str] | None:
    if len(parts) != len(route.parts):
        return None
    values: dict[str, str] = {}
    for wanted, found in zip(route.parts, parts, strict=True):
        if wanted.startswith("{"):
            values[wanted[1:-1]] = found
        elif wanted != found:
            return None
    return values
