"""What a policy would earn, judged on entities that its model has not seen: cross-fitted off-policy evaluation."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from decisions.matrix import Floats
from decisions.policies import PolicySpec, build_policy, probability_matrix
from decisions.value import Estimate, direct, doubly_robust_terms, estimate, from_influence, ips, ratio, snips
from training.dataset import Bools, Ints, TrainingSet
from training.fit import best_single, fit, predict
from training.split import folds, later

FOLDS = 4
LEARNED = "learned"
SINGLE = "best_single"
BASELINE = "baseline"

LEAST_COMPARED = 200
"""Decisions that control, or the champion, must have for its own earnings to be what a candidate is compared with."""

PERIODS = 8
"""Periods of time, of equally many decisions, within which a policy and what it is compared with must both have decisions."""


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What models say of entities that they have not seen; n rows, K candidates.

    Attributes:
        q: (n, K) estimated reward of each eligible candidate, −inf for the others.
        table: (n, K) the same of the best-single table: equal within a fold.
        fold: (n,) whose model judged each row.
    """

    q: Floats
    table: Floats
    fold: Ints


@dataclass(frozen=True, eq=False)
class Terms:
    """A policy on the randomised rows.

    Attributes:
        target: (n,) probability of the action that was shown. `q_target`: (n,) estimated reward under the policy.
        terms: (n,) doubly robust terms. `variance`: (n,) Σ_a target² / p, which says how noisy a row is.
    """

    target: Floats
    q_target: Floats
    terms: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class Value:
    """A policy's value a decision by each estimator, in the unit that people read."""

    dr: Estimate
    snips: Estimate
    ips: Estimate
    direct: Estimate


@dataclass(frozen=True, slots=True)
class Personal:
    """Whether different people want different things: the learned policy against the best single candidate.

    Attributes:
        paired: doubly robust gain, from what was shown to whom the two policies would treat differently.
        calibrated: gain that the model expects, times how much of its differences between people proved true; see `_calibrated`.
        slope: that share: 1 if the model's differences are as large as they say, 0 if they are noise.
    """

    paired: Estimate
    calibrated: Estimate
    slope: Estimate

    def confidence(self) -> float:
        """That personalising earns more, by the calibrated gain; 0 where the paired gain speaks clearly against it."""
        return self.calibrated.confidence_above(0.0) if self.paired.confidence_above(0.0) >= 0.2 else 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that the gate looks at.

    Attributes:
        values: by policy: `learned`, `best_single`, `baseline`, each as it would serve (with its exploration).
        logged: mean reward of the randomised decisions as they were made.
        control: mean reward of the control group, if it has enough decisions.
        gain_over_control: by policy: over the control group, or over the baseline's off-policy value where there is none.
        gain_over_champion: by policy: over the champion's decisions, or over all randomised ones where it has too few.
        personal: see there.
        forward: gain over the baseline in the later part, by a model of the earlier part; none for data without time.
        compared_with: what stood for control and for the champion, in words.
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


def cross_fit(training_set: TrainingSet, *, seed: int, threads: int, count: int = FOLDS) -> CrossFit:
    """Fit models on all folds of entities but one, and let them judge that one; for each, so many at a time."""
    learner = training_set.use_case.learner
    fold = folds(training_set.rows["entity_id"], count, seed)
    q = np.full(training_set.eligible.shape, -np.inf)
    table = np.zeros(training_set.eligible.shape)

    def judge_fold(number: int) -> None:
        out = fold == number
        model = fit(training_set, ~out, learner, seed=seed)
        q[out] = predict(model, training_set.features[out], training_set.eligible[out])
        table[out] = best_single(training_set, ~out, learner, seed=seed)

    with ThreadPoolExecutor(threads) as workers:
        list(workers.map(judge_fold, np.unique(fold)))
    return CrossFit(q, table, fold)


def evaluate(training_set: TrainingSet, *, champion: str | None, seed: int, threads: int) -> Evaluation:
    """Value the policies that could be released, and compare them with control and champion.

    Args:
        training_set: the data.
        champion: the release that serves now.
        seed: of folds and models.
        threads: models fitted side by side.
    """
    use_case = training_set.use_case
    fitted = cross_fit(training_set, seed=seed, threads=threads)
    use = training_set.randomised
    policy = build_policy(use_case.learned_policy, use_case.catalogue)
    always = build_policy(PolicySpec("greedy"), use_case.catalogue)
    baseline = np.zeros(training_set.eligible.shape)
    baseline[:, use_case.catalogue.index[use_case.baseline]] = 1.0
    probabilities = {
        LEARNED: probability_matrix(policy, fitted.q, training_set.eligible),
        SINGLE: probability_matrix(policy, fitted.table, training_set.eligible),
        BASELINE: probability_matrix(always, baseline, training_set.eligible),
    }
    terms = {name: _terms(training_set, fitted.q, matrix, use) for name, matrix in probabilities.items()}
    period = _periods(training_set)
    controls, control_words = _control(training_set)
    champions, champion_words = _champion(training_set, champion)
    released = (LEARNED, SINGLE)
    return Evaluation(
        rows=len(training_set),
        randomised=int(use.sum()),
        entities=len(np.unique(training_set.entity)),
        values={name: _value(training_set, part, use) for name, part in terms.items()},
        logged=ratio(training_set.reward[use], None, training_set.entity[use], corrected=True),
        control=ratio(training_set.reward[controls], None, training_set.entity[controls], corrected=True) if controls.any() else None,
        gain_over_control={
            name: _gain(training_set, terms[name], controls, period)
            if controls.any()
            else _paired(training_set, terms[name], terms[BASELINE], probabilities[name] - probabilities[BASELINE], use)
            for name in released
        },
        gain_over_champion={name: _gain(training_set, terms[name], champions, period) for name in released},
        personal=_personal(training_set, fitted, terms, probabilities, use),
        forward=_forward(training_set, seed) if use_case.split == "time" else None,
        compared_with={"control": control_words, "champion": champion_words},
    )


def _terms(training_set: TrainingSet, q: Floats, probabilities: Floats, use: Bools) -> Terms:
    action, chosen = training_set.action[use], probabilities[use]
    known = np.where(training_set.eligible[use], q[use], 0.0)
    row = np.arange(len(action))
    target = np.where(action >= 0, chosen[row, action], 0.0)
    q_target = (chosen * known).sum(axis=1)
    propensity = training_set.propensity[use]
    terms = doubly_robust_terms(training_set.reward[use], propensity, target, known[row, action], q_target)
    return Terms(target, q_target, terms, _variance(training_set, chosen, use))


def _variance(training_set: TrainingSet, weights: Floats, use: Bools) -> Floats:
    shares = training_set.p_in_arm[use]
    return np.asarray(np.divide(weights**2, shares, out=np.zeros_like(shares), where=shares > 0.0).sum(axis=1))


def _value(training_set: TrainingSet, terms: Terms, use: Bools) -> Value:
    rewards, propensity, entity = training_set.reward[use], training_set.propensity[use], training_set.entity[use]
    precision = _precision(training_set, terms.variance, use)
    return Value(
        dr=ratio(precision * terms.terms, precision, entity, weights=precision * terms.target / propensity, corrected=True),
        snips=snips(rewards, propensity, terms.target, entity),
        ips=ips(rewards, propensity, terms.target, entity),
        direct=direct(terms.q_target, entity),
    )


def _precision(training_set: TrainingSet, variance: Floats, use: Bools) -> Floats:
    """Weight of each row: the inverse of how noisy rows of its release and arm are, which their probabilities tell without any reward."""
    stratum = training_set.rows.filter(use).select("release_id", "arm").to_struct().rank("dense").to_numpy().astype(np.int64) - 1
    noise = np.bincount(stratum, variance) / np.bincount(stratum)
    weights: Floats = 1.0 / np.maximum(noise, max(1e-3, 0.01 * float(noise.max(initial=0.0))))
    return np.asarray(weights[stratum])


def _periods(training_set: TrainingSet) -> Ints:
    if training_set.use_case.split != "time":
        return np.zeros(len(training_set), dtype=np.int64)
    decided_at = training_set.rows["decided_at"].to_numpy()
    edges = np.quantile(decided_at, np.linspace(0.0, 1.0, PERIODS + 1)[1:-1])
    return np.searchsorted(edges, decided_at, side="right").astype(np.int64)


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


def _gain(training_set: TrainingSet, terms: Terms, reference: Bools, period: Ints) -> Estimate:
    """Value of a policy minus mean reward of reference rows, each period weighing alike in both; periods without both do not count."""
    use = training_set.randomised
    n = len(training_set)
    precision, values = np.zeros(n), np.zeros(n)
    precision[use], values[use] = _precision(training_set, terms.variance, use), terms.terms
    mass = np.bincount(period, precision, minlength=PERIODS)
    there = np.bincount(period[reference], minlength=PERIODS)
    precision *= there[period] > 0
    share = np.divide(mass, there, out=np.zeros(PERIODS), where=there > 0)
    against = np.where(reference, share[period], 0.0)
    return contrast(values, precision, training_set.reward, against, training_set.entity)


def contrast(first: Floats, first_weights: Floats, second: Floats, second_weights: Floats, clusters: Ints) -> Estimate:
    """`Σ v·x / Σ v − Σ w·y / Σ w` over the same rows, with the cluster-robust variance of its linearisation.

    Rows and entities may stand in both means, in one, or (weight 0) in none.

    Example:
        >>> one = np.ones(4)
        >>> contrast(np.array([1.0, 3.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]), np.zeros(4), one, np.arange(4)).value
        2.0
    """
    totals = float(first_weights.sum()), float(second_weights.sum())
    if min(totals) <= 0.0:
        return estimate(0.0, np.inf, n=0, clusters=1, effective_n=0.0, confidence=0.95)
    means = float(first_weights @ first) / totals[0], float(second_weights @ second) / totals[1]
    residuals = first_weights * (first - means[0]) / totals[0] - second_weights * (second - means[1]) / totals[1]
    used = (first_weights > 0.0) | (second_weights > 0.0)
    by_entity: Floats = np.bincount(clusters, weights=residuals).astype(np.float64)
    groups = len(np.unique(clusters[used]))
    effective = totals[0] ** 2 / float(first_weights @ first_weights)
    return from_influence(means[0] - means[1], by_entity, n=int(used.sum()), clusters=groups, effective_n=effective)


def _paired(training_set: TrainingSet, first: Terms, second: Terms, difference: Floats, use: Bools) -> Estimate:
    precision = _precision(training_set, _variance(training_set, difference[use], use), use)
    return ratio(precision * (first.terms - second.terms), precision, training_set.entity[use])


def _personal(
    training_set: TrainingSet, fitted: CrossFit, terms: Mapping[str, Terms], probabilities: Mapping[str, Floats], use: Bools
) -> Personal:
    difference = probabilities[LEARNED] - probabilities[SINGLE]
    paired = _paired(training_set, terms[LEARNED], terms[SINGLE], difference, use)
    slope, common, personal = _calibrated(training_set, fitted, difference[use], use)
    expected = estimate(
        common + slope.value * personal,
        abs(personal) * slope.standard_error,
        n=slope.n,
        clusters=slope.clusters,
        effective_n=slope.effective_n,
        confidence=0.95,
    )
    return Personal(paired, expected, slope)


def _calibrated(training_set: TrainingSet, fitted: CrossFit, difference: Floats, use: Bools) -> tuple[Estimate, float, float]:
    """How much of the model's differences between people is true, and the two parts of the gain that it expects of personalising.

    The model's scores are split into what a candidate adds for everybody and what it adds for this entity beyond that. The latter, centred
    under the logging probabilities, is regressed on rewards: the best linear predictor of Chernozhukov, Demirer, Duflo and Fernández-Val
    (2018, section 2), for many treatments. Every row speaks, not only those where a policy's choice happened to be shown.
    """
    eligible, shares, action = training_set.eligible[use], training_set.p_in_arm[use], training_set.action[use]
    q = np.where(eligible, fitted.q[use], 0.0)
    usual = (shares * q).sum(axis=1, keepdims=True)
    weight = 1.0 / np.maximum(usual[:, 0], 1e-3 * float(np.abs(usual).mean()) + 1e-300)
    above = np.where(eligible, q - usual, 0.0)
    common = _common(above, eligible, fitted.fold[use])
    own = np.where(eligible, above - common, 0.0)
    own -= np.where(eligible, (shares * own).sum(axis=1, keepdims=True), 0.0)
    common -= (shares * common).sum(axis=1, keepdims=True)
    row = np.arange(len(action))
    known = action >= 0
    x = np.where(known, own[row, action], 0.0)
    rest = training_set.reward[use] - usual[:, 0] - np.where(known, common[row, action], 0.0)
    scale = float((weight * x * x).sum())
    entity = training_set.entity[use]
    if scale <= 0.0:
        flat = estimate(0.0, 0.0, n=len(x), clusters=len(np.unique(entity)), effective_n=float(len(x)), confidence=0.95)
        return flat, 0.0, 0.0
    slope = ratio(weight * x * rest, weight * x * x, entity)
    return slope, float((difference * common).sum(axis=1).mean()), float((difference * own).sum(axis=1).mean())


def _common(above: Floats, eligible: Bools, fold: Ints) -> Floats:
    result = np.zeros_like(above)
    for number in np.unique(fold):
        rows = fold == number
        count = np.maximum(eligible[rows].sum(axis=0), 1)
        result[rows] = np.where(eligible[rows], above[rows].sum(axis=0) / count, 0.0)
    return result


def _forward(training_set: TrainingSet, seed: int) -> Estimate | None:
    """Gain over the baseline of the later quarter's decisions, by a model that knows only the earlier ones."""
    use_case = training_set.use_case
    out = later(training_set, 0.25)
    use = out & training_set.randomised
    if not use.any() or out.all():
        return None
    model = fit(training_set, ~out, use_case.learner, seed=seed)
    q = np.full(training_set.eligible.shape, -np.inf)
    q[out] = predict(model, training_set.features[out], training_set.eligible[out])
    learned = probability_matrix(build_policy(use_case.learned_policy, use_case.catalogue), q, training_set.eligible)
    baseline = np.zeros_like(learned)
    baseline[:, use_case.catalogue.index[use_case.baseline]] = 1.0
    plain = probability_matrix(build_policy(PolicySpec("greedy"), use_case.catalogue), baseline, training_set.eligible)
    first, second = (_terms(training_set, q, matrix, use) for matrix in (learned, plain))
    return _paired(training_set, first, second, learned - plain, use)
