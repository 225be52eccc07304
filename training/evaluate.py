"""What a policy would earn, judged on entities that its model has not seen: cross-fitted off-policy evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from decisions.matrix import Floats
from decisions.overlap import Limits, Overlap, overlap
from decisions.policies import PolicySpec, build_policy, probability_matrix
from decisions.value import Estimate, importance_weights, ratio
from training.cross_fit import cross_fit
from training.dataset import Bools, TrainingSet
from training.fit import fit, predict
from training.personal import Personal, compare
from training.rollout import cooled_shares, rules_allow
from training.scrutiny import Leak, leaks
from training.split import later
from training.terms import Value, gain_over, paired, periods_of, terms_of, value_of

LEARNED = "learned"
OFFERED = "offered"
SINGLE = "best_single"
BASELINE = "baseline"

LEAST_COMPARED = 200
"""Decisions that control, or the champion, must have for its own earnings to be what a candidate is compared with."""


@dataclass(frozen=True, eq=False)
class Offer:
    """A model made elsewhere, or earlier, that is judged as it is: on decisions that it was not made from.

    Attributes:
        scores: (n, K) of every candidate that rules allow. `policy`: the spec over them.
    """

    scores: Floats
    policy: PolicySpec


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that the gate looks at.

    Attributes:
        values: by policy: `learned` (or what was `offered`), `best_single`, `baseline`, each as it would serve (with its exploration).
        logged: mean reward of the randomised decisions as they were made.
        control: mean reward of the control group, if it has enough decisions.
        gain_over_control: by policy: over the control group, or over the baseline's off-policy value where there is none.
        gain_over_champion: by policy: over the champion's decisions, or over all randomised ones where it has too few.
        personal: see there.
        forward: gain over the baseline in the later part, by a model of the earlier part; none for data without time.
        compared_with: what stood for control and for the champion, in words.
        policy: the policy's spec, with what depends on the data.
        cooled: by policy: the share of its value that its own cool-downs leave, see `training.rollout`; counted in doubly robust values.
        calibration: earned by what was shown, over what models of other entities expected of it.
        slices: gain over control by slice, of `learned` or what was `offered`.
        overlap: by policy: whether the log can value it at all.
        leaks: features that cannot have been known at the decision.
    """

    rows: int
    randomised: int
    entities: int
    values: Mapping[str, Value]
    logged: Estimate
    control: Estimate | None
    gain_over_control: Mapping[str, Estimate]
    gain_over_champion: Mapping[str, Estimate]
    personal: Personal
    forward: Estimate | None
    compared_with: Mapping[str, str]
    policy: PolicySpec
    cooled: Mapping[str, float]
    calibration: Estimate
    slices: Mapping[str, Estimate]
    overlap: Mapping[str, Overlap]
    leaks: tuple[Leak, ...]


def evaluate(training_set: TrainingSet, *, champion: str | None, seed: int, threads: int, offer: Offer | None = None) -> Evaluation:
    """Value the policies that could be released, and compare them with control and champion.

    Args:
        training_set: the data.
        champion: the release that serves now.
        seed: of folds and models.
        threads: models fitted side by side.
        offer: judged instead of what would be learned from this data; models of the data then only make its value exact.
    """
    use_case = training_set.use_case
    allowed = rules_allow(training_set)
    fitted = cross_fit(training_set, allowed, seed=seed, threads=threads)
    use = training_set.randomised
    first = LEARNED if offer is None else OFFERED
    spec = trained_policy(training_set, fitted.q) if offer is None else offer.policy
    policy, always = (build_policy(made, use_case.catalogue) for made in (spec, PolicySpec("greedy")))
    scores = {first: fitted.q if offer is None else offer.scores, SINGLE: np.where(allowed, fitted.table, -np.inf)}
    probabilities = {name: probability_matrix(policy, own, training_set.eligible) for name, own in scores.items()}
    baseline = np.zeros(training_set.eligible.shape)
    baseline[:, use_case.catalogue.index[use_case.baseline]] = 1.0
    probabilities[BASELINE] = probability_matrix(always, baseline, training_set.eligible)
    terms = {name: terms_of(training_set, fitted.q, matrix, use) for name, matrix in probabilities.items()}
    cooled = {
        name: cooled_shares(training_set, policy, own, fitted.q, allowed, terms[name].q_target, seed=seed) for name, own in scores.items()
    }
    terms |= {name: replace(terms[name], terms=terms[name].terms * shares) for name, shares in cooled.items()}
    period = periods_of(training_set)
    controls, control_words = _control(training_set)
    champions, champion_words = _champion(training_set, champion)

    def over_control(name: str, rows: Bools) -> Estimate:
        if controls.any():
            return gain_over(training_set, terms[name], controls, period, rows)
        return paired(training_set, terms[name], terms[BASELINE], probabilities[name] - probabilities[BASELINE], use, rows)

    everybody = np.ones(len(training_set), dtype=np.bool_)
    return Evaluation(
        rows=len(training_set),
        randomised=int(use.sum()),
        entities=len(np.unique(training_set.entity)),
        values={name: value_of(training_set, part, use) for name, part in terms.items()},
        logged=ratio(training_set.reward[use], None, training_set.entity[use], corrected=True),
        control=ratio(training_set.reward[controls], None, training_set.entity[controls], corrected=True) if controls.any() else None,
        gain_over_control={name: over_control(name, everybody) for name in scores},
        gain_over_champion={name: gain_over(training_set, terms[name], champions, period) for name in scores},
        personal=compare(training_set, fitted, terms[first], terms[SINGLE], probabilities[first] - probabilities[SINGLE]),
        forward=_forward(training_set, spec, seed) if use_case.split == "time" and offer is None else None,
        compared_with={"control": control_words, "champion": champion_words},
        policy=spec,
        cooled={name: float(shares.mean()) for name, shares in cooled.items()},
        calibration=_calibration(training_set, scores[first], use),
        slices={name: over_control(first, rows) for name, rows in slices_of(training_set).items()},
        overlap={name: _overlap(training_set, probabilities[name], terms[name].target, use) for name in scores},
        leaks=leaks(training_set),
    )


def trained_policy(training_set: TrainingSet, q: Floats) -> PolicySpec:
    """The use case's learned policy with what depends on the data: how much of it there is, of which candidates, and what a score is."""
    use_case, eligible = training_set.use_case, training_set.eligible
    shown = np.bincount(training_set.action[training_set.action >= 0], minlength=eligible.shape[1])
    return use_case.learned_policy.trained(
        rows=len(training_set),
        candidates=eligible.shape[1],
        scale=float(q[eligible].mean()),
        seen={name: int(shown[place]) for name, place in use_case.catalogue.index.items()},
    )


def slices_of(training_set: TrainingSet) -> Mapping[str, Bools]:
    """(n,) rows of each slice that the gate looks at, by `feature=category`; of those with enough rows to say anything."""
    feature_set = training_set.use_case.feature_set
    found = {}
    for name in training_set.use_case.gate.slices:
        column = training_set.features[:, feature_set.names.index(name)]
        for code, category in enumerate(feature_set.categories[name]):
            rows = np.asarray(column == code, dtype=np.bool_)
            if (rows & training_set.randomised).sum() >= LEAST_COMPARED:
                found[f"{name}={category}"] = rows
    return found


def _overlap(training_set: TrainingSet, probabilities: Floats, target: Floats, use: Bools) -> Overlap:
    weights = importance_weights(training_set.propensity[use], target)
    limits = Limits(least_effective=training_set.use_case.gate.min_effective)
    return overlap(weights, training_set.entity[use], probabilities=probabilities[use], p_in_arm=training_set.p_in_arm[use], limits=limits)


def _calibration(training_set: TrainingSet, q: Floats, use: Bools) -> Estimate:
    known = use & (training_set.action >= 0)
    expected = q[np.flatnonzero(known), training_set.action[known]]
    return ratio(training_set.reward[known], expected, training_set.entity[known])


def _control(training_set: TrainingSet) -> tuple[Bools, str]:
    control = training_set.control
    if control.sum() >= LEAST_COMPARED:
        return control, f"{int(control.sum())} decisions of the control group"
    return np.zeros_like(control), f"the off-policy value of `{training_set.use_case.baseline}` for all"


def _champion(training_set: TrainingSet, champion: str | None) -> tuple[Bools, str]:
    served = ((training_set.rows["release_id"] == (champion or "")) & ~training_set.rows["arm"].is_in(["control"])).to_numpy()
    if served.sum() >= LEAST_COMPARED:
        return served, f"{int(served.sum())} decisions of release {champion}"
    return training_set.randomised, f"{int(training_set.randomised.sum())} randomised decisions as they were logged"


def _forward(training_set: TrainingSet, spec: PolicySpec, seed: int) -> Estimate | None:
    """Gain over the baseline of the later quarter's decisions, by a model that knows only the earlier ones."""
    use_case = training_set.use_case
    out = later(training_set, 0.25)
    use = out & training_set.randomised
    if not use.any() or out.all():
        return None
    model = fit(training_set, ~out, use_case.learner, seed=seed)
    q = np.zeros(training_set.eligible.shape)
    q[out] = predict(model, training_set.features[out], training_set.eligible[out])
    learned = probability_matrix(build_policy(spec, use_case.catalogue), q, training_set.eligible)
    baseline = np.zeros_like(learned)
    baseline[:, use_case.catalogue.index[use_case.baseline]] = 1.0
    plain = probability_matrix(build_policy(PolicySpec("greedy"), use_case.catalogue), baseline, training_set.eligible)
    first, second = (terms_of(training_set, q, matrix, use) for matrix in (learned, plain))
    return paired(training_set, first, second, learned - plain, use)
