"""Decide: a pure function from a request, the entity's features and a release to the decision, which says all it was made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.catalogue import NO_ACTION, Catalogue
from contracts.errors import DefinitionError
from contracts.records import CandidateProbability, Decision, FieldValue, ShadowScore
from contracts.traffic import CONTROL
from decisions.assignment import Assignment
from decisions.eligibility import Eligibility, EligibleSet, Shown
from decisions.matrix import FeatureColumns, Floats
from decisions.policies import Policy, PolicySpec, build_policy, choose
from decisions.scorer import Scorer, build_scorer

NOTHING_SHOWN: Shown = MappingProxyType({})

MODEL_FAILED = "model:failed"
"""Said by a decision at which the release's model or policy failed: everyone gets the baseline, as control does."""

MODEL_GONE = "model:gone"
"""Said by a decision that was made while no release could be read: everyone gets the baseline of the use case as its code defines it."""

LOG_UNAVAILABLE = "log:unavailable"
"""Said by an answer that is not in the log, as its use case declares; nothing is learned from it, and no outcome can name it."""

BY_RULES = frozenset({MODEL_FAILED, MODEL_GONE, LOG_UNAVAILABLE})
"""What a decision that was made without a model says of itself."""


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question: what to show this entity now."""

    decision_id: str
    use_case: str
    entity_id: str
    context: Mapping[str, FieldValue] = {}

    def digest(self) -> str:
        """Digest of what is asked, by which the same id with another question is told apart."""
        content = _ENCODER.encode((self.use_case, self.entity_id, self.context))
        return blake2b(content, digest_size=16).hexdigest()


class Row(Protocol):
    """Features of an entity at the moment of the decision, as the online store gives them."""

    @property
    def values(self) -> Floats:
        """(n,) values; a missing or stale one holds its default."""
        ...

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the features without a value."""
        ...

    @property
    def ages_us(self) -> NDArray[np.int64]:
        """(n,) ages."""
        ...

    @property
    def stale(self) -> tuple[str, ...]:
        """Names of the features older than they may be."""
        ...

    @property
    def seen_seq(self) -> int:
        """The newest `seq` that was seen."""
        ...


@dataclass(frozen=True, slots=True)
class ReleaseRuntime:
    """A release made ready to decide; immutable, so that any thread may use it.

    Attributes:
        feature_set: digest of the feature set that rows must come from; `feature_count` of them.
        baseline: the candidate that control gets.
        ttl_us: how long an answer may be shown.
    """

    release_id: str
    feature_set: str
    feature_count: int
    catalogue: Catalogue
    eligibility: Eligibility
    scorer: Scorer
    policy: Policy
    baseline: str
    ttl_us: int


def build_runtime(
    release_id: str,
    *,
    catalogue: Catalogue,
    features: FeatureColumns,
    policy: PolicySpec,
    scorer_kind: str,
    files: Mapping[str, bytes],
    baseline: str,
    ttl_us: int,
) -> ReleaseRuntime:
    """Compile a release: rules, policy and scorer, from the contents of its bundle.

    Args:
        release_id: its name.
        catalogue: its candidates.
        features: its feature set.
        policy: its policy, as written down.
        scorer_kind: see `scorer.build_scorer`, as for `files`, the contents of the bundle's files by name.
        files: see there.
        baseline: the candidate that control gets.
        ttl_us: how long an answer may be shown.

    Raises:
        DefinitionError: the parts do not fit each other.
        InvalidInput: the scorer's file is malformed or does not fit.
    """
    if baseline not in catalogue.index:
        raise DefinitionError(f"release {release_id}", f"its baseline `{baseline}` is no candidate", "Add it to the catalogue.")
    return ReleaseRuntime(
        release_id=release_id,
        feature_set=features.digest,
        feature_count=len(features.names),
        catalogue=catalogue,
        eligibility=Eligibility(catalogue, features, baseline),
        scorer=build_scorer(scorer_kind, files, features.names, catalogue),
        policy=build_policy(policy, catalogue),
        baseline=baseline,
        ttl_us=ttl_us,
    )


def decide(
    request: DecisionRequest,
    row: Row,
    runtime: ReleaseRuntime,
    assignment: Assignment,
    *,
    draw: float,
    now_us: int,
    shown: Shown = NOTHING_SHOWN,
    withheld: Sequence[str] = (),
    simulated: bool = False,
    degraded: tuple[str, ...] = (),
) -> Decision:
    """The decision; the same arguments give the same bits.

    Control gets the baseline, or the fallback where the baseline is not eligible. The other arms get what the release's policy draws.

    Args:
        request: the question.
        row: the entity's features, of the runtime's feature set.
        runtime: the release that the assignment names.
        assignment: the entity's arm.
        draw: a uniform number in [0, 1), fresh for this decision.
        now_us: the moment of the decision, at which the features were read.
        shown: when candidates were shown to the entity; needed only if `runtime.eligibility.looks_back_us`.
        withheld: candidates that the traffic plan says nobody is shown.
        simulated: whether the installation is.
        degraded: what else was not as declared; stale features are added.

    Returns:
        The decision with `seq` 0, which the store replaces.
    """
    values: list[float] = row.values.tolist()
    eligible = runtime.eligibility.eligible(values, shown, now_us, withheld)
    scores = runtime.scorer.scores(row.values, eligible.positions)
    if assignment.arm == CONTROL:
        probabilities = baseline_probabilities(eligible.ids, runtime.baseline)
    else:
        probabilities = runtime.policy.probabilities(scores, eligible.positions).tolist()
    return _decision(request, row, runtime, assignment, eligible.ids, probabilities, scores.tolist(), draw, now_us, simulated, degraded)


def decide_by_rules(
    request: DecisionRequest,
    row: Row,
    runtime: ReleaseRuntime,
    assignment: Assignment,
    *,
    draw: float,
    now_us: int,
    shown: Shown = NOTHING_SHOWN,
    withheld: Sequence[str] = (),
    simulated: bool = False,
    degraded: tuple[str, ...],
) -> Decision:
    """The decision without model and policy: the baseline where it is eligible, else the fallback, with probability 1, whatever the arm.

    All scores are 0. Where the rules themselves fail, only `no action` is eligible.

    Args:
        request, row, runtime, assignment, draw, now_us, shown, withheld, simulated: as `decide`.
        degraded: says why, by one of `BY_RULES`.
    """
    try:
        ids = runtime.eligibility.eligible(row.values.tolist(), shown, now_us, withheld).ids
    except Exception:  # noqa: BLE001  why: this is what is answered when something has failed already
        ids = (NO_ACTION,)
    probabilities = baseline_probabilities(ids, runtime.baseline)
    return _decision(request, row, runtime, assignment, ids, probabilities, [0.0] * len(ids), draw, now_us, simulated, degraded)


def _decision(
    request: DecisionRequest,
    row: Row,
    runtime: ReleaseRuntime,
    assignment: Assignment,
    ids: tuple[str, ...],
    probabilities: list[float],
    scores: list[float],
    draw: float,
    now_us: int,
    simulated: bool,
    degraded: tuple[str, ...],
) -> Decision:
    place = choose(probabilities, draw)
    return Decision(
        decision_id=request.decision_id,
        use_case=request.use_case,
        entity_id=request.entity_id,
        decided_at=now_us,
        expires_at=now_us + runtime.ttl_us,
        release_id=runtime.release_id,
        feature_set=runtime.feature_set,
        catalogue=runtime.catalogue.digest,
        arm=assignment.arm,
        arm_probability=assignment.arm_probability,
        action=ids[place],
        propensity=probabilities[place],
        draw=draw,
        candidates=tuple(map(CandidateProbability, ids, probabilities, scores)),
        features=tuple(row.values.tolist()),
        ages_us=tuple(row.ages_us.tolist()),
        missing=row.missing,
        degraded=(*degraded, *(f"stale:{name}" for name in row.stale)) if row.stale else degraded,
        seen_seq=row.seen_seq,
        seq=0,
        context=request.context,
        request_digest=request.digest(),
        simulated=simulated,
    )


def score_in_shadow(
    decision: Decision,
    row: Row,
    runtime: ReleaseRuntime,
    *,
    scored_at: int,
    shown: Shown = NOTHING_SHOWN,
    withheld: Sequence[str] = (),
) -> ShadowScore:
    """What a release in the shadow would have done at a decision of another, with features of its own set read at the same moment."""
    values: list[float] = row.values.tolist()
    eligible: EligibleSet = runtime.eligibility.eligible(values, shown, decision.decided_at, withheld)
    scores = runtime.scorer.scores(row.values, eligible.positions)
    probabilities = runtime.policy.probabilities(scores, eligible.positions)
    candidates = tuple(map(CandidateProbability, eligible.ids, probabilities.tolist(), scores.tolist()))
    return ShadowScore(decision.decision_id, decision.use_case, runtime.release_id, scored_at, candidates)


def baseline_probabilities(ids: tuple[str, ...], baseline: str) -> list[float]:
    """Control's probabilities: all on the baseline; where it is not eligible on "no action", else on the only candidate left.

    Example:
        >>> baseline_probabilities(("none", "mens"), "mens"), baseline_probabilities(("none",), "mens")
        ([0.0, 1.0], [1.0])
    """
    given = baseline if baseline in ids else NO_ACTION
    return [1.0 if candidate == given else 0.0 for candidate in ids]


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
