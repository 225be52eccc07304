"""What is said over HTTP, by example: for the document, the page and whoever reads them. A test sends every request to a real service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.records import CandidateProbability, Decision
from serving.messages import (
    DecisionAnswer,
    DecisionRequest,
    DecisionsAnswer,
    DecisionsRequest,
    EventMessage,
    EventsRequest,
    Health,
    HookAnswer,
    OutcomeMessage,
    OutcomesRequest,
    Problem,
    Receipt,
    Refused,
    ReleaseStatus,
    Status,
    UseCaseStatus,
)
from serving.problems import Kind


@dataclass(frozen=True, slots=True)
class Example:
    """What one operation takes and gives; None where it has no body."""

    takes: Any = None
    gives: Any = None


PATH: Mapping[str, str] = {"use_case": "shop", "decision_id": "d-2026-0001", "name": "train"}
"""Values of what stands in braces in a path."""

_RELEASE = "r-6f1c9d2e4b7a"
_AT = 1_767_268_800_000_000
_ANSWER = DecisionAnswer(
    decision_id="d-2026-0001",
    entity_id="p-4711",
    action="gems",
    content={"text": "Gems!"},
    propensity=0.25,
    release_id=_RELEASE,
    arm="champion",
    arm_probability=0.87,
    degraded=(),
    decided_at=_AT,
    expires_at=_AT + 1_800_000_000,
)
_SECOND = DecisionAnswer(
    decision_id="d-2026-0002",
    entity_id="p-4712",
    action="none",
    content={},
    propensity=1.0,
    release_id=_RELEASE,
    arm="control",
    arm_probability=0.13,
    degraded=("stale:country",),
    decided_at=_AT,
    expires_at=_AT + 1_800_000_000,
)
_LOGGED = Decision(
    decision_id="d-2026-0001",
    use_case="shop",
    entity_id="p-4711",
    decided_at=_AT,
    expires_at=_AT + 1_800_000_000,
    release_id=_RELEASE,
    feature_set="f-3b9a",
    catalogue="c-77d0",
    arm="champion",
    arm_probability=0.87,
    action="gems",
    propensity=0.25,
    draw=0.61,
    candidates=(CandidateProbability("none", 0.75, 0.0), CandidateProbability("gems", 0.25, 0.014)),
    features=(3.0, 0.0),
    ages_us=(86_400_000_000, -1),
    missing=("country",),
    degraded=(),
    seen_seq=12,
    seq=13,
    context={"cart": 2},
    request_digest="5d41402abc4b2a76",
)
EXAMPLES: Mapping[str, Example] = {
    "hooks": Example({"use_case": "shop"}, HookAnswer(7, "waiting")),
    "decisions": Example(DecisionRequest("p-4711", "d-2026-0001", {"cart": 2}), _ANSWER),
    "decisions_batch": Example(
        DecisionsRequest([DecisionRequest("p-4711", "d-2026-0001"), DecisionRequest("p-4712", "d-2026-0002")]),
        DecisionsAnswer([_ANSWER, _SECOND]),
    ),
    "events": Example(
        EventsRequest(
            [
                EventMessage("e-1001", "p-4711", "profile", "2026-01-01T12:00:00Z", {"country": "DE"}),
                EventMessage("e-1002", "p-4711", "purchase", 1_767_268_800_000_000, {"amount_micros": 4_990_000, "product": "gems"}),
                EventMessage("e-1003", "p-4711", "profile", "2026-01-01T12:05:00Z", {"country": 49}),
            ]
        ),
        Receipt(2, 0, [Refused(2, "e-1003", "`country` is 49; expected text")]),
    ),
    "outcomes": Example(
        OutcomesRequest(
            [
                OutcomeMessage("o-1", "d-2026-0001", 4_990_000),
                OutcomeMessage("o-2", None, -4_990_000, kind="refund", entity_id="p-4711"),
            ]
        ),
        Receipt(2, 0, []),
    ),
    "decision": Example(None, _LOGGED),
    "status": Example(
        None,
        Status(
            "5f0c2a9e",
            False,
            _AT,
            [UseCaseStatus("shop", True, 3, 0.13, [ReleaseStatus("champion", _RELEASE, 0.87, "compiled")], None, {})],
        ),
    ),
    "health": Example(None, Health("alive")),
    "ready": Example(None, Health("ready")),
}
"""By the name of the route."""

DETAILS: Mapping[str, tuple[str, str | None]] = {
    "no-key": ("No key was sent. Send the installation's key as `Authorization: Bearer KEY`.", None),
    "signature": ("a webhook is older than 5 minutes. Sign `id.timestamp.body` with the hook's secret and send it at once.", None),
    "forbidden": ("key `app` has no scope `decide`. Make a key that has it.", None),
    "foreign": ("A page of another site may not do this.", None),
    "no-such-path": ("There is nothing at this path. /docs says what there is.", None),
    "not-found": ("use case `game` is not known. Known: shop.", None),
    "method": ("Only POST here.", None),
    "slow": ("The body did not arrive within 10.0 s.", None),
    "conflict": ("decision `d-2026-0001` was accepted before with other content. Send new content under a new id.", None),
    "too-large": ("the body is larger than 1048576 bytes. Send it in parts.", None),
    "media-type": ("The body must be sent as application/json.", None),
    "invalid": ("`entity_id` is not as declared: Expected `str`, got `int`; expected what /docs says", "entity_id"),
    "too-many": ("key `app` may ask 100 times a second. Nothing was done; ask again after 1 s, and less at a time.", None),
    "fault": ("This should not have happened. The log of the service has it under the request id.", None),
    "not-ready": ("use case `shop` is not ready: it has no release that can serve yet. Try again.", None),
    "stale-features": (
        "no decision for entity `p-4711`: country older than `max_age`, and declared to refuse then. "
        "Send what they follow from, and try again.",
        None,
    ),
    "log-unavailable": ("the journal cannot take a record now (MapFullError). Nothing was kept; try again.", None),
    "unconfirmed": ("the journal did not confirm a record within 5 s. It may have been kept or not; ask again with the same id.", None),
    "overloaded": ("128 requests are under way, as many as are taken at once. Nothing was done; try again.", None),
    "deadline": ("the request waited 2.4 s, and 2 s is the most. Nothing was done; try again.", None),
    "unavailable": ("No replica can answer now; try again.", None),
}
"""What a problem of each kind may say, and the field that it may blame."""


def problem_example(kind: Kind) -> Problem:
    """A problem of a kind, as a client may get it."""
    detail, field = DETAILS[kind.name]
    return Problem(kind.uri, kind.title, kind.status, detail, "8f2c1b7d9e0a4c55", field)
