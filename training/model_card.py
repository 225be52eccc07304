"""The model card of a release: what people agree on before they let it go on (Mitchell et al. 2019, "Model Cards for Model Reporting").

What is not known is left out.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from contracts.clock import to_datetime
from decisions.policies import PolicySpec
from features.definitions import Feature
from features.documentation import default_of, max_age, meaning, type_of, when_stale
from features.lineage import inputs
from training.dataset import TrainingSet
from training.evaluate import LEAST_COMPARED, Evaluation
from training.gate import Verdict
from use_cases.definition import UseCase

FEW = 30
"""Decisions that showed a candidate, below which little is known of it."""

_KINDS = {
    "constant": "all candidates alike; nothing is learned",
    "table": "one value a candidate, the same for everybody",
    "linear": "a linear model over features and candidate",
    "lightgbm": "boosted trees over features and candidate",
}


def first_card(use_case: UseCase, kind: str, policy: PolicySpec) -> dict[str, Any]:
    """The card of a release of which nothing is known but what was declared.

    Args:
        use_case: whose.
        kind: of its scorer.
        policy: over the scores.
    """
    feature_set = use_case.feature_set
    owners = dict.fromkeys(feature.owner for feature in feature_set.features if feature.owner)
    return {
        "purpose": _known(
            {
                "title": use_case.title,
                "use_case": use_case.name,
                "entity": feature_set.entity.name,
                "entity_description": feature_set.entity.description,
                "reward_unit": use_case.reward_unit,
                "owners": list(owners),
                "approvers": list(use_case.approvers),
            }
        ),
        "inputs": {
            "feature_set": feature_set.name,
            "digest": feature_set.digest,
            "features": [_input(use_case, feature) for feature in feature_set.features],
        },
        "outputs": {
            "scorer": _KINDS[kind],
            "score": f"what a candidate is expected to earn with this {feature_set.entity.name}, in {use_case.reward_unit} a decision",
            "probability": "of each candidate that may be shown, made of the scores by the policy; the action is drawn by it",
            "candidates": len(use_case.catalogue.candidates),
            "catalogue": use_case.catalogue.digest,
        },
        "use": {
            "policy": _known(msgspec.to_builtins(policy)),
            "control_share": use_case.control_share,
            "baseline": use_case.baseline,
            "answers_may_be_shown_us": use_case.ttl_us,
            "outcome_window_us": use_case.outcome_window_us,
        },
        "limits": ["Nothing is learned: it draws by its start policy, and what it earns is not known."] if kind == "constant" else [],
    }


def model_card(training_set: TrainingSet, kind: str, policy: PolicySpec, evaluation: Evaluation, verdict: Verdict) -> dict[str, Any]:
    """The card of a trained release. Figures are in the unit that people read, a decision; estimates with their 95 % intervals.

    Args:
        training_set: what it was trained on.
        kind: of its scorer.
        policy: over its scores.
        evaluation: of what is released.
        verdict: the gate's.
    """
    choice = verdict.choice
    times = training_set.rows["decided_at"]
    return {
        **first_card(training_set.use_case, kind, policy),
        "performance": _known(
            {
                "policy": choice,
                "value": evaluation.values[choice].dr,
                "forecast": verdict.forecast,
                "logged": evaluation.logged,
                "control": evaluation.control,
                "gain_over_control": evaluation.gain_over_control[choice],
                "gain_over_champion": evaluation.gain_over_champion[choice],
                "compared_with": dict(evaluation.compared_with),
                "calibration": evaluation.calibration,
                "slices": dict(evaluation.slices),
            }
        ),
        "data": {
            "decisions": len(training_set),
            "entities": evaluation.entities,
            "randomised": evaluation.randomised,
            "computed_from_events": training_set.backfilled,
            "from": to_datetime(int(times[0])).isoformat(),
            "until": to_datetime(int(times[-1])).isoformat(),
        },
        "limits": list(_limits(training_set, evaluation, verdict)),
    }


def _input(use_case: UseCase, feature: Feature) -> dict[str, Any]:
    sources = [f"{origin.source}.{origin.field}" if origin.field else origin.source for origin in inputs(use_case.feature_set, feature)]
    return _known(
        {
            "name": feature.name,
            "meaning": meaning(feature),
            "description": feature.description,
            "type": type_of(feature),
            "unit": feature.unit,
            "owner": feature.owner,
            "tags": list(feature.tags),
            "sources": list(dict.fromkeys(sources)),
            "when_missing": default_of(feature),
            "max_age": max_age(feature),
            "when_stale": when_stale(feature),
        }
    )


def _limits(training_set: TrainingSet, evaluation: Evaluation, verdict: Verdict) -> Iterator[str]:
    use_case = training_set.use_case
    drift, until_us = use_case.gate.drift, int(training_set.rows["decided_at"][-1])
    yield (
        f"It knows what happened until {to_datetime(until_us).isoformat()}. What changes afterwards, such as"
        f" season and tastes, it does not know; its forecast allows for {drift:.0%} of that (one standard deviation)."
    )
    shown = np.bincount(training_set.action[training_set.action >= 0], minlength=len(use_case.catalogue.candidates))
    few = [f"{name} ({shown[place]})" for name, place in use_case.catalogue.index.items() if shown[place] < FEW]
    if few:
        yield f"Little is known of candidates that were shown fewer than {FEW} times: {', '.join(few)}."
    overlap = evaluation.overlap.get(verdict.choice)
    if overlap is not None and overlap.unseen > 0.0:
        yield f"{overlap.unseen:.2%} of what it would show was never shown in the log; there its value is the model's guess."
    small = _small_slices(training_set, evaluation)
    if small:
        yield f"Too few decisions to tell how it does in the slices {', '.join(small)}."
    if evaluation.control is None:
        yield f"There is no control group to compare it with; it was compared with {evaluation.compared_with['control']}."
    if training_set.backfilled:
        yield (
            f"Features of {training_set.backfilled} of {len(training_set)} decisions were computed from events afterwards, not served:"
            " they are what would have been known then."
        )
    if evaluation.forward is None:
        yield "It was not tried on a time after that of its data."


def _small_slices(training_set: TrainingSet, evaluation: Evaluation) -> list[str]:
    feature_set, randomised = training_set.use_case.feature_set, training_set.randomised
    found = []
    for name in training_set.use_case.gate.slices:
        column = training_set.features[:, feature_set.names.index(name)]
        for code, category in enumerate(feature_set.categories[name]):
            if f"{name}={category}" not in evaluation.slices:
                found.append(f"{name}={category} ({int((randomised & (column == code)).sum())} of {LEAST_COMPARED})")
    return found


def _known(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value not in (None, "", [], {}, ())}
