"""What a registered release would have earned on its use case's own log, on decisions that it was not trained on."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from contracts.errors import InvalidInput, StepRefused
from decisions.overlap import overlap
from decisions.policies import PolicySpec, build_policy, probability_matrix
from decisions.slices import categories, quantile_bins
from decisions.value import Floats
from releases.bundle import BundleParts
from storage.tables import Tables
from training.cross_fit import cross_fit
from training.dataset import Bools, TrainingSet, build
from training.log_policy import Target
from training.log_value import BINS, LogValue, Wanted, assemble, logged_of
from training.train import runtime_of
from use_cases.definition import UseCase

STEP = "be valued on this log"


def value_release(
    tables: Tables,
    use_case: UseCase,
    release_id: str,
    parts: BundleParts,
    wanted: Wanted,
    *,
    registered_at: int,
    now_us: int,
    folder: Path,
) -> LogValue:
    """Value a release on its use case's randomised decisions.

    Only decisions count whose outcome window was open when the release was registered, or that came later: it cannot have learned from
    them. A release that learned nothing may be valued on all.

    Args:
        tables: drained tables of the installation.
        use_case: whose release it is.
        release_id: its name.
        parts: its bundle.
        wanted: how to value it; its `policy` is a name only.
        registered_at: when it was made.
        now_us: outcome windows must have closed by then.
        folder: for files in between.

    Raises:
        StepRefused: its features or candidates are not those of the use case any more, or no later decision has matured.
        DataRefused: the log's rows are wrong.
    """
    _check(use_case, release_id, parts)
    whole = build(tables, use_case, now_us=now_us, folder=folder)
    return value_on(whole, release_id, parts, wanted, registered_at=registered_at)


def value_on(whole: TrainingSet, release_id: str, parts: BundleParts, wanted: Wanted, *, registered_at: int) -> LogValue:
    """The same, from a training set that is as of now."""
    use_case = whole.use_case
    _check(use_case, release_id, parts)
    since_us = registered_at - use_case.outcome_window_us if parts.data else 0
    later = (whole.rows["decided_at"] > since_us).to_numpy() & whole.randomised & (whole.action >= 0)
    if not later.any():
        raise StepRefused(release_id, STEP, "no randomised decision after its training data has matured yet")
    log = subset(whole, later)
    q = cross_fit(log, log.eligible, seed=wanted.seed, threads=wanted.threads).q if wanted.model else None
    probabilities = probabilities_of(log, parts)
    target = Target(release_id, probabilities[np.arange(len(log)), log.action], probabilities)
    logged = logged_of(log.reward, log.propensity, log.action, target, q)
    found = overlap(logged.weights, log.entity, probabilities=probabilities, p_in_arm=log.p_in_arm, limits=wanted.limits)
    labels = None if wanted.by is None else _labels(log, wanted.by)
    entities = len(np.unique(log.entity))
    return assemble(use_case.name, logged, log.entity, found, wanted, labels, entities=entities, actions=log.eligible.shape[1])


def _check(use_case: UseCase, release_id: str, parts: BundleParts) -> None:
    if msgspec.json.encode(parts.features) != msgspec.json.encode(msgspec.json.decode(use_case.feature_set.to_json())):
        raise StepRefused(release_id, STEP, "its features are not those of the use case today")
    if parts.catalogue.digest != use_case.catalogue.digest:
        raise StepRefused(release_id, STEP, "its candidates are not those of the use case today")


def subset(training_set: TrainingSet, use: Bools) -> TrainingSet:
    """Some rows of a training set."""
    return replace(
        training_set,
        rows=training_set.rows.filter(use),
        features=training_set.features[use],
        action=training_set.action[use],
        eligible=training_set.eligible[use],
        p_in_arm=training_set.p_in_arm[use],
        entity=np.unique(training_set.entity[use], return_inverse=True)[1].astype(np.int64),
    )


def probabilities_of(log: TrainingSet, parts: BundleParts) -> Floats:
    """(n, K) probabilities that a release gives to what could have been shown: its own scorer and policy."""
    use_case = log.use_case
    spec = msgspec.convert(parts.policy, PolicySpec)
    runtime = runtime_of(use_case, parts.scorer_kind, parts.scorer_files, spec)
    scores = np.full(log.eligible.shape, -np.inf)
    for row, (values, able) in enumerate(zip(log.features, log.eligible, strict=True)):
        positions = np.flatnonzero(able).astype(np.int64)
        scores[row, positions] = runtime.scorer.scores(np.ascontiguousarray(values), positions)
    return probability_matrix(build_policy(spec, use_case.catalogue), scores, log.eligible)


def _labels(log: TrainingSet, column: str) -> list[str]:
    feature_set = log.use_case.feature_set
    if column == "action":
        names = list(log.use_case.catalogue.index)
        return categories([names[place] for place in log.action])
    if column not in feature_set.names:
        raise InvalidInput("by", f"is {column!r}, which is no feature", f"one of {', '.join([*feature_set.names, 'action'])}")
    numbers, names_of = log.features[:, feature_set.names.index(column)], feature_set.categories.get(column, ())
    if names_of:
        return categories([names_of[int(code)] if 0 <= code < len(names_of) else None for code in numbers])
    if len(np.unique(numbers)) > BINS:
        return quantile_bins(numbers)
    return categories([f"{number:g}" for number in numbers])
