"""Explain a decision: compute it again from its log row and its release, and compare bit for bit."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.records import CandidateProbability, Decision
from contracts.traffic import CONTROL
from decisions.decide import BY_RULES, NOTHING_SHOWN, ReleaseRuntime, baseline_probabilities
from decisions.eligibility import Shown
from decisions.policies import choose


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision computed again.

    Attributes:
        candidates: the eligible ones of the log, with recomputed scores and probabilities; empty where they cannot be computed.
        action: that the logged draw chooses; empty where it cannot be computed.
        differences: each thing that differs from the log, in words with both values; empty when all is equal to the last bit.
    """

    candidates: tuple[CandidateProbability, ...]
    action: str
    propensity: float
    differences: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether the log row and the release suffice to say the same to the last bit."""
        return not self.differences


def recompute(decision: Decision, runtime: ReleaseRuntime) -> Explanation:
    """Scores, probabilities and action of a logged decision, from its features, candidates and draw.

    Which candidates were eligible is taken from the log: cool-downs depend on the entity's events, which features.online can recompute.

    Args:
        decision: as logged.
        runtime: of the release that the decision names.
    """
    misfits = _misfits(decision, runtime)
    if misfits:
        return Explanation((), "", 0.0, misfits)
    ids = tuple(candidate.candidate_id for candidate in decision.candidates)
    positions = np.array([runtime.catalogue.index[name] for name in ids], dtype=np.int64)
    by_rules = not BY_RULES.isdisjoint(decision.degraded)
    scores = np.zeros(len(ids)) if by_rules else runtime.scorer.scores(np.array(decision.features, dtype=np.float64), positions)
    if by_rules or decision.arm == CONTROL:
        probabilities = baseline_probabilities(ids, runtime.baseline)
    else:
        probabilities = runtime.policy.probabilities(scores, positions).tolist()
    place = choose(probabilities, decision.draw)
    candidates = tuple(map(CandidateProbability, ids, probabilities, scores.tolist()))
    return Explanation(candidates, ids[place], probabilities[place], _differences(decision, candidates, place))


def exclusions(
    decision: Decision, runtime: ReleaseRuntime, shown: Shown = NOTHING_SHOWN, withheld: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Why each candidate of the catalogue that the log does not name was not eligible, in words; no reason where none is known any more.

    Args:
        decision: as logged, by the runtime's release.
        runtime: of the release that the decision names.
        shown: what the entity was shown before, as far as it is still known.
        withheld: what the traffic plan withheld then.
    """
    said = {candidate.candidate_id for candidate in decision.candidates}
    reasons = runtime.eligibility.reasons(decision.features, shown, decision.decided_at, withheld)
    return {name: reasons.get(name, ()) for name in runtime.catalogue.index if name not in said}


def _misfits(decision: Decision, runtime: ReleaseRuntime) -> tuple[str, ...]:
    said = (
        ("release", decision.release_id, runtime.release_id),
        ("feature set", decision.feature_set, runtime.feature_set),
        ("catalogue", decision.catalogue, runtime.catalogue.digest),
        ("number of features", len(decision.features), runtime.feature_count),
    )
    found = [f"{name}: logged {logged}, the release has {own}" for name, logged, own in said if logged != own]
    unknown = [candidate.candidate_id for candidate in decision.candidates if candidate.candidate_id not in runtime.catalogue.index]
    if unknown or not decision.candidates:
        found.append(f"candidates: logged {unknown or 'none'}, which the catalogue does not know")
    return tuple(found)


def _differences(decision: Decision, candidates: Sequence[CandidateProbability], place: int) -> tuple[str, ...]:
    said: list[tuple[str, str | float, str | float]] = []
    for logged, own in zip(decision.candidates, candidates, strict=True):
        said.append((f"score of {own.candidate_id}", logged.score, own.score))
        said.append((f"probability of {own.candidate_id}", logged.p_in_arm, own.p_in_arm))
    said.append(("action", decision.action, candidates[place].candidate_id))
    said.append(("propensity", decision.propensity, candidates[place].p_in_arm))
    return tuple(f"{name}: logged {logged!r}, recomputed {own!r}" for name, logged, own in said if not _same(logged, own))


def _same(logged: str | float, own: str | float) -> bool:
    if isinstance(logged, str) or isinstance(own, str):
        return logged == own
    return struct.pack("<d", logged) == struct.pack("<d", own)
