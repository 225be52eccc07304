"""Releases of a use case: who had which share when, the list, one of them, and what differs between two."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.errors import BundleRefused, NotFound, StepRefused
from contracts.traffic import CONTROL, TrafficPlan
from releases.bundle import Bundle
from releases.card import intervals
from releases.diff import diff
from releases.sign_off import Approval
from serving.console import charts
from serving.console.asking import Asked, Page
from serving.console.desk import Known, Office
from serving.console.traffic import shares, time_line
from serving.operations import approval_of
from storage.measures import ArmMeasure, Interval, UseCaseMeasures
from use_cases.definition import UseCase

A_PAGE = 40
"""Releases on one page of the list."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A release in the list.

    Attributes:
        share: of all entities, that it answers now.
        forecast: what the gate foresaw a decision; `came`: what it earned, in the arm with the most decisions.
        sign_off: in words; empty where nobody is asked.
    """

    known: Known
    share: float
    forecast: Interval | None
    came: ArmMeasure | None
    sign_off: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its interval, under its path in a document."""

    name: str
    spread: Interval


def listing(asked: Asked) -> Page:
    """The time line and the list of a use case's releases."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    rows = list(reversed(office.ledger.releases(use_case.name)))
    start = max(0, asked.asked_number("from") or 0)
    plan, measured = office.plan(use_case.name), office.measured(use_case.name)
    listed = [_listed(office, use_case, office.known(row), plan, measured) for row in rows[start : start + A_PAGE]]
    scale = charts.scale_of([one.forecast for one in listed] + [one.came.reward if one.came else None for one in listed])
    content = {
        "here": "releases",
        "use_case": use_case,
        "plan": plan,
        "line": time_line(list(office.rows(use_case.name)), office.clock.now_us()),
        "listed": listed,
        "scale": scale,
        "newer": max(0, start - A_PAGE) if start else None,
        "older": start + A_PAGE if start + A_PAGE < len(rows) else None,
        "total": len(rows),
    }
    return Page("releases.html", content)


def one(asked: Asked) -> Page:
    """One release: where it stands, what it is, what was asked of it, what came of it, what may be done with it."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    row = office.release(use_case.name, asked.path["release_id"])
    known = office.known(row)
    plan, measured = office.plan(use_case.name), office.measured(use_case.name)
    content = {
        "here": "releases",
        "use_case": use_case,
        "listed": _listed(office, use_case, known, plan, measured),
        "plan": plan,
        "history": office.ledger.rows(use_case.name, limit=60, release_id=row.release_id),
        "others": [other.release_id for other in reversed(office.ledger.releases(use_case.name)) if other.release_id != row.release_id][
            :A_PAGE
        ],
        "was_champion": row.stage == "retired" and _was_champion(office, use_case.name, row.release_id),
        "came": [arm for arm in (measured.arms if measured else ()) if arm.release_id == row.release_id],
        **judged(known.bundle),
    }
    return Page("release.html", content)


def difference(asked: Asked) -> Page:
    """What differs between two releases."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    plan = office.plan(use_case.name)
    before = asked.query.get("before") or (plan.champion.release_id if plan else "")
    after = asked.query.get("after", "")
    if not before or not after:
        raise NotFound("release", before and after)
    rows = [office.release(use_case.name, release_id) for release_id in (before, after)]
    found = diff(*(office.bundle(row.release_id) for row in rows))
    return Page("diff.html", {"here": "releases", "use_case": use_case, "found": found, "before": rows[0], "after": rows[1]})


def judged(bundle: Bundle | None) -> Mapping[str, Any]:
    """What a bundle says of its own proof, for the pages that show it: the gate, its forecast, slices, figures, and where it comes from."""
    if bundle is None:
        return {"gate": {}, "forecast": None, "slices": [], "figures": [], "documents": {}, "bundle": None, "gate_scale": None, "card": {}}
    parts = bundle.parts
    gate = parts.gate if isinstance(parts.gate, Mapping) else {}
    metrics = parts.metrics if isinstance(parts.metrics, Mapping) else {}
    slices = [
        Figure(str(name), one.spread) for name, value in dict(metrics.get("slices") or {}).items() for one in figures({"slice": value})
    ]
    told = figures({name: value for name, value in metrics.items() if name not in ("slices", "trials")})
    documents = {name: _flat(getattr(parts, name)) for name in ("policy", "settings", "data", "code")}
    return {
        "bundle": bundle,
        "gate": {**gate, "checks": [check for check in gate.get("checks", ()) if {"name", "passed", "reason"} <= set(check)]},
        "forecast": forecast_of(bundle),
        "slices": slices,
        "slice_scale": charts.scale_of([one.spread for one in slices]),
        "figures": told,
        "documents": documents | {"engine": [(name, version) for name, version in parts.engine.items()]},
        "card": parts.card if isinstance(parts.card, Mapping) else {},
    }


def figures(document: Any) -> list[Figure]:
    """Every figure with an interval in a document.

    Example:
        >>> figures({"gain": {"value": 0.2, "low": 0.1, "high": 0.3}})[0].name
        'gain'
    """
    return [
        Figure(name.replace("/", " · ").replace("_", " "), Interval(value, low, high)) for name, value, low, high in intervals(document)
    ]


def forecast_of(bundle: Bundle | None) -> Interval | None:
    """What the gate foresaw of a release, a decision; None where it was never judged."""
    gate = bundle.parts.gate if bundle and isinstance(bundle.parts.gate, Mapping) else {}
    try:
        return msgspec.convert(gate["forecast"], Interval) if gate.get("forecast") else None
    except msgspec.ValidationError:
        return None


def sign_off_words(use_case: UseCase, stage: str, approval: Approval | None) -> str:
    """Whether a release is signed off, in words; empty where nobody is asked."""
    if approval is not None:
        return f"void: {approval.void}" if approval.void and stage not in ("champion", "retired", "refused") else f"by {approval.actor}"
    return "waiting" if use_case.approvers and stage in ("candidate", "shadow") else ""


def _listed(office: Office, use_case: UseCase, known: Known, plan: TrafficPlan | None, measured: UseCaseMeasures | None) -> Listed:
    release_id = known.row.release_id
    held = sum(one.share for one in shares(plan) if one.release_id == release_id and one.arm != CONTROL) if plan else 0.0
    came = [arm for arm in (measured.arms if measured else ()) if arm.release_id == release_id and arm.arm != CONTROL]
    try:
        approval = approval_of(office.desk, use_case.name, release_id)
    except (StepRefused, BundleRefused):
        approval = None
    return Listed(
        known,
        held,
        forecast_of(known.bundle),
        max(came, key=lambda arm: arm.decisions, default=None),
        sign_off_words(use_case, known.row.stage, approval),
    )


def _was_champion(office: Office, use_case: str, release_id: str) -> bool:
    return any(row.plan is not None and row.plan.champion.release_id == release_id for row in office.rows(use_case))


def _flat(document: Any, path: str = "") -> list[tuple[str, Any]]:
    """The values of a document under their paths, in its order."""
    if isinstance(document, Mapping):
        return [leaf for key, value in document.items() for leaf in _flat(value, f"{path} · {key}" if path else str(key))]
    return [(path.replace("_", " "), document)] if path else []
