"""One decision: looked up by its id, computed again from its log row and its release, and explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from contracts.errors import BundleRefused, InvalidInput, NotFound
from contracts.records import DECISION_EVENT, CandidateProbability, Decision, FieldValue
from decisions.contributions import Contribution, Contributions, contributions
from decisions.explain import Explanation, exclusions, recompute
from decisions.record import stored_decision
from features.online import OnlineFeatures
from features.reading import age, value
from serving.console import charts
from serving.console.asking import Asked, Page
from serving.console.desk import Office
from serving.console.recent import recent
from serving.live import Release
from serving.messages import is_id
from storage.measures import Interval
from use_cases.definition import UseCase

NEWEST = 15
"""Decisions that are offered to look at."""

MOST_REASONS = 10


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of the decision, as people read it."""

    name: str
    text: str
    age: str
    missing: bool
    stale: bool


@dataclass(frozen=True, slots=True)
class Considered:
    """An eligible candidate: what the log says, what is computed again, and what clients show of it."""

    logged: CandidateProbability
    again: CandidateProbability | None
    content: Mapping[str, FieldValue]
    shown: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A decision explained.

    Attributes:
        refused: why its release cannot compute it again here; the rest is then what the log says.
        excluded: each candidate that was not eligible, with all reasons.
        why: what the columns add to the score of what was shown; None where it does not follow from features.
    """

    decision: Decision
    features: tuple[Feature, ...]
    candidates: tuple[Considered, ...]
    explanation: Explanation | None
    excluded: Mapping[str, tuple[str, ...]]
    why: Contributions | None
    reasons: tuple[Contribution, ...]
    refused: str


def page(asked: Asked) -> Page:
    """The form, and the decision that was asked for."""
    office, decision_id = asked.office, asked.query.get("id", "").strip()
    content: dict[str, object] = {"here": "decisions", "decision_id": decision_id[:128], "told": None, "unknown": "", "scale": None}
    status = 200
    if decision_id:
        try:
            told = explained(office, _find(office, decision_id))
            bars = [Interval(one.amount, None, None) for one in told.reasons]
            content |= {"told": told, "scale": charts.scale_of(bars), "use_case": office.use_cases[told.decision.use_case]}
        except (NotFound, InvalidInput) as error:
            status, content["unknown"] = 404, str(error)
    content["newest"] = {} if content["told"] else {name: recent(office, name).decisions[:NEWEST] for name in office.use_cases}
    return Page("decision.html", content, status)


def explained(office: Office, decision: Decision) -> Told:
    """A logged decision with all that can be said of it."""
    use_case = office.use_case(decision.use_case)
    try:
        release = office.ready(use_case, decision.release_id)
    except BundleRefused as error:
        return Told(decision, _bare(decision), _considered(decision, None, None), None, {}, None, (), error.reason)
    explanation = recompute(decision, release.runtime)
    plan = office.ledger.live_at(decision.use_case, decision.decided_at)
    excluded = exclusions(decision, release.runtime, _shown(office, use_case, decision), plan.withheld if plan else ())
    why = _why(decision, release)
    return Told(
        decision,
        _features(decision, release),
        _considered(decision, explanation, release),
        explanation,
        excluded,
        why,
        why.strongest[:MOST_REASONS] if why else (),
        "",
    )


def _find(office: Office, decision_id: str) -> Decision:
    if not is_id(decision_id):
        raise InvalidInput("id", f"is {decision_id[:40]!r}", "1 to 128 characters of A-Z a-z 0-9 . _ : -")
    with office.journal.read() as read:
        for use_case in office.use_cases:
            found = stored_decision(read, use_case, decision_id)
            if found is not None:
                return found
    raise NotFound("decision", decision_id)


def _shown(office: Office, use_case: UseCase, decision: Decision) -> Mapping[str, Sequence[int]]:
    """What the entity was shown before the decision, as far as its state still knows."""
    state = office.journal.get_state(decision.use_case, decision.entity_id)
    return OnlineFeatures(use_case.schema, 0).times_of(state, DECISION_EVENT, "candidate_id", decision.decided_at - 1)


def _features(decision: Decision, release: Release) -> tuple[Feature, ...]:
    names = release.feature_set.names
    if len(names) != len(decision.features):
        return _bare(decision)
    return tuple(
        Feature(
            name,
            value(release.feature_set, name, number),
            age(age_us),
            name in decision.missing,
            f"stale:{name}" in decision.degraded,
        )
        for name, number, age_us in zip(names, decision.features, decision.ages_us, strict=True)
    )


def _bare(decision: Decision) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"feature {number}", f"{known:.10g}", age(age_us), missing=False, stale=False)
        for number, (known, age_us) in enumerate(zip(decision.features, decision.ages_us, strict=True), 1)
    )


def _considered(decision: Decision, explanation: Explanation | None, release: Release | None) -> tuple[Considered, ...]:
    again = {one.candidate_id: one for one in explanation.candidates} if explanation else {}
    known = {one.candidate_id: one.content for one in release.runtime.catalogue.candidates} if release else {}
    considered = [
        Considered(one, again.get(one.candidate_id), known.get(one.candidate_id, {}), one.candidate_id == decision.action)
        for one in decision.candidates
    ]
    return tuple(sorted(considered, key=lambda one: -one.logged.p_in_arm))


def _why(decision: Decision, release: Release) -> Contributions | None:
    position = release.runtime.catalogue.index.get(decision.action)
    if position is None or len(decision.features) != release.runtime.feature_count:
        return None
    return contributions(release.runtime, np.array(decision.features, dtype=np.float64), position)
