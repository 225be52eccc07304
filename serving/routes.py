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
from serving.problems import BY_NAME, Kind

_EVERYWHERE = ("method", "slow", "unavailable")
_KEYED = ("no-key", "forbidden", "too-many", "overloaded", "deadline")
_POSTED = ("foreign", "not-found", "too-large", "media-type", "invalid", "log-unavailable", "unconfirmed")
_RECORDS = (*_POSTED, "conflict")
_DECIDES = (*_POSTED, "conflict", "not-ready", "stale-features")


@dataclass(frozen=True)
class Route:
    """One operation.

    Attributes:
        name: its operation id, and its label in metrics.
        about: what else one should know.
        template: its path; a part in braces stands for one segment.
        takes, gives: types of the body; None for none, or for what is no JSON.
        scope: what its key needs; None for none at all.
        problems: the kinds of problems it may answer with, by name, but for those that any route or any key may meet.
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
    problems: tuple[str, ...] = ()
    signed: bool = False
    gives_type: str = "application/json"
    about: str = ""

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The template's segments."""
        return tuple(self.template.strip("/").split("/"))

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of problems it may answer with."""
        return tuple(BY_NAME[name] for name in (*_EVERYWHERE, *(_KEYED if self.scope else ()), *self.problems))

    @cached_property
    def statuses(self) -> tuple[int, ...]:
        """Every status it may answer with, in order."""
        return tuple(sorted({self.status, *(kind.status for kind in self.kinds)}))


ROUTES = (
    Route(
        "hooks",
        "POST",
        "/v1/hooks/{name}",
        "Start a flow by a signed webhook",
        dict[str, Any],
        HookAnswer,
        status=202,
        problems=("signature", "no-key", *_POSTED),
        signed=True,
        about="Signed as standard-webhooks.com says, over id, timestamp and body. The same id starts nothing twice.",
    ),
    Route(
        "decisions",
        "POST",
        "/v1/{use_case}/decisions",
        "Decide what to show an entity now",
        DecisionRequest,
        DecisionAnswer,
        Scope.DECIDE,
        problems=_DECIDES,
        about="The decision is durable when it is answered. The same `decision_id` gets the same answer again, from whichever replica; "
        "for another entity or context it is a conflict. Without one, each request is a decision of its own.",
    ),
    Route(
        "decisions_batch",
        "POST",
        "/v1/{use_case}/decisions:batch",
        "Decide for many entities",
        DecisionsRequest,
        DecisionsAnswer,
        Scope.DECIDE,
        problems=_DECIDES,
        about="Answers come in the order of the requests, and all are durable. Where one cannot be decided, none is answered; sent again, "
        "those with a `decision_id` that were decided get the same answer.",
    ),
    Route(
        "events",
        "POST",
        "/v1/{use_case}/events",
        "Send events",
        EventsRequest,
        Receipt,
        Scope.INGEST,
        problems=_RECORDS,
        about="What the receipt counts is durable, and in the entity's next decision. An `event_id` that comes again with the same content "
        "counts as a duplicate. Events that break their schema are in quarantine with the reason, and hold up no other.",
    ),
    Route(
        "outcomes",
        "POST",
        "/v1/{use_case}/outcomes",
        "Send outcomes",
        OutcomesRequest,
        Receipt,
        Scope.LABEL,
        problems=_RECORDS,
        about="As events, known by `outcome_id`. A refund is a negative reward; `corrects` names an outcome that this one replaces.",
    ),
    Route(
        "decision",
        "GET",
        "/v1/{use_case}/decisions/{decision_id}",
        "A decision's row of the log",
        None,
        Decision,
        Scope.READ,
        problems=("not-found", "invalid", "log-unavailable"),
    ),
    Route("status", "GET", "/v1/status", "What serves now, on the replica that answers", None, Status, Scope.READ),
    Route("health", "GET", "/healthz", "Whether the process lives", None, Health),
    Route("ready", "GET", "/readyz", "Whether decisions are answered", None, Health, problems=("not-ready",)),
    Route("openapi", "GET", "/openapi.json", "This document", None, dict[str, Any], Scope.READ),
    Route("docs", "GET", "/docs", "This document as a page", scope=Scope.READ, gives_type="text/html"),
    Route("index", "GET", "/", "Where to go", scope=Scope.READ, gives_type="text/html"),
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
