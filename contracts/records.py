"""The records that go round the loop, as they are stored. All times are UTC microseconds of the installation's clock."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

FieldValue: TypeAlias = int | str | bool | float | None
"""A value of an event's own field or of a request's context."""

DECISION_EVENT = "decision"
OUTCOME_EVENT = "outcome"


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened to an entity, as accepted.

    Attributes:
        type: one of the use case's event types, or `decision` / `outcome`, which Offerloop adds itself.
        event_time: when it happened, clamped to `ingested_time`; `original_time` keeps what was sent.
        seq: its number among the entity's events, from 1, in the order they became visible.
        fields: the values of the type's own fields.
    """

    event_id: str
    entity_id: str
    type: str
    event_time: int
    ingested_time: int
    seq: int
    fields: Mapping[str, FieldValue]
    original_time: int | None = None
    loaded_at: int | None = None
    simulated: bool = False


class CandidateProbability(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One eligible candidate of a decision: its score and its exact probability within the arm."""

    candidate_id: str
    p_in_arm: float
    score: float


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer and everything needed to recompute it to the last bit.

    Attributes:
        seq: this decision's number among the entity's events.
        seen_seq: the newest `seq` of the entity that the features saw.
        features: values in the order of the release's feature set, categories as their codes, absent as NaN.
        missing: names of features that had no value and took their default.
        ages_us: age of each feature, in the same order.
        candidates: the eligible ones, in catalogue order, with their probabilities, which sum to one.
        draw: the uniform number in [0, 1) that chose the action.
        propensity: `p_in_arm` of the action.
        degraded: what was not as declared, such as `stale:country`; empty when all was well.
        request_digest: digest of the request, so that the same id with other content is a conflict.
    """

    decision_id: str
    use_case: str
    entity_id: str
    decided_at: int
    expires_at: int
    release_id: str
    feature_set: str
    catalogue: str
    arm: str
    arm_probability: float
    action: str
    propensity: float
    draw: float
    candidates: tuple[CandidateProbability, ...]
    features: tuple[float, ...]
    ages_us: tuple[int, ...]
    missing: tuple[str, ...]
    degraded: tuple[str, ...]
    seen_seq: int
    seq: int
    context: Mapping[str, FieldValue]
    request_digest: str
    simulated: bool = False
    source: Literal["served", "imported"] = "served"


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What followed a decision. `reward` is in the use case's integer KPI (micro-money by default); refunds are negative.

    Attributes:
        decision_id: empty for what is known of the entity alone; see `decisions.rewards` for whose reward it becomes.
        corrects: the outcome that this one replaces; or empty.
    """

    outcome_id: str
    decision_id: str
    entity_id: str
    use_case: str
    reward: int
    event_time: int
    ingested_time: int
    seq: int
    kind: str = ""
    simulated: bool = False
    corrects: str = ""


class ShadowScore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a release in the shadow would have done at a decision that another release answered."""

    decision_id: str
    use_case: str
    release_id: str
    scored_at: int
    candidates: tuple[CandidateProbability, ...]


class Quarantined(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event or outcome that was not taken, with the reason; `payload` is what was sent, as JSON text."""

    use_case: str
    kind: str
    reason: str
    payload: str
    ingested_time: int


class StoredEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as the journal keeps it: with its use case."""

    use_case: str
    event: Event


def event_of_decision(decision: Decision) -> Event:
    """The event that a decision is for its entity: what cool-down and fatigue count."""
    return Event(
        event_id=decision.decision_id,
        entity_id=decision.entity_id,
        type=DECISION_EVENT,
        event_time=decision.decided_at,
        ingested_time=decision.decided_at,
        seq=decision.seq,
        fields={"candidate_id": decision.action, "arm": decision.arm},
        simulated=decision.simulated,
    )


def event_of_outcome(outcome: Outcome) -> Event:
    """The event that an outcome is for its entity."""
    return Event(
        event_id=outcome.outcome_id,
        entity_id=outcome.entity_id,
        type=OUTCOME_EVENT,
        event_time=min(outcome.event_time, outcome.ingested_time),
        ingested_time=outcome.ingested_time,
        seq=outcome.seq,
        fields={"reward": outcome.reward},
        simulated=outcome.simulated,
    )
