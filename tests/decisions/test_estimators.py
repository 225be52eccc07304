"""Estimators by name: their formulas in plain loops, and the Open Bandit Pipeline's own code on real logs where it is at hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from bench import peers
from bench.peers.valuation import Arrays
from contracts.errors import DataRefused
from decisions.estimators import MODELLED, NAMES, EstimatorName, Logged, logged, switch_threshold, terms_of, under
from decisions.value import Estimate
from tests.real_logs import HILLSTROM, OPEN_BANDIT, hillstrom_arrays, open_bandit_arrays

# action, propensity, reward; probabilities and q of two actions
LOG = ((0, 0.5, 10.0), (1, 0.25, 0.0), (1, 0.5, 4.0), (0, 1.0, 0.0))
PROBABILITIES = np.array([[1.0, 0.0], [0.9, 0.1], [0.25, 0.75], [0.5, 0.5]])
Q = np.array([[8.0, 1.0], [3.0, 1.0], [5.0, 4.0], [2.0, 2.0]])


def small() -> Logged:
    action, propensity, rewards = zip(*LOG, strict=True)
    return logged(rewards, propensity, action, PROBABILITIES, Q)


def by_hand(name: str, log: Arrays, most: float) -> float:
    """Each estimator as its paper writes it, a row at a time."""
    total = weights = 0.0
    for reward, propensity, action, shares, q in zip(log.rewards, log.propensity, log.action, log.probabilities, log.q, strict=True):
        weight = shares[action] / propensity
        model = math.fsum(share * predicted for share, predicted in zip(shares, q, strict=True))
        match name:
            case "ips" | "snips":
                total += weight * reward
            case "clipped_ips":
                total += min(weight, most) * reward
            case "dm":
                total += model
            case "dr":
                total += model + weight * (reward - q[action])
            case "switch_dr":
                total += model + (weight * (reward - q[action]) if weight <= most else 0.0)
        weights += weight
    return total / (weights if name == "snips" else len(log.rewards))


def ours(name: EstimatorName, log: Arrays, most: float) -> float:
    threshold = most if name in ("clipped_ips", "switch_dr") else None
    model = log.q if name in MODELLED else None
    return terms_of(name, logged(log.rewards, log.propensity, log.action, log.probabilities, model), threshold=threshold).value


@pytest.mark.parametrize("name", NAMES)
def test_each_estimator_is_its_formula(name: EstimatorName) -> None:
    seed = 5
    random = np.random.default_rng(seed)
    shares, probabilities = random.dirichlet(np.ones(4), (2, 500))
    action = random.integers(0, 4, 500)
    log = Arrays(random.exponential(size=500), shares[np.arange(500), action], action, probabilities, random.random((500, 4)))

    assert ours(name, log, 2.0) == pytest.approx(by_hand(name, log, 2.0), abs=1e-12)


REAL = [
    pytest.param("hillstrom", marks=pytest.mark.skipif(not HILLSTROM.exists(), reason="Hillstrom's data is not here")),
    *(
        pytest.param(campaign, marks=pytest.mark.skipif(not OPEN_BANDIT.exists(), reason="the Open Bandit data is not here"))
        for campaign in ("men", "women", "all")
    ),
]


def real(name: str) -> Arrays:
    return hillstrom_arrays() if name == "hillstrom" else open_bandit_arrays(name)


@pytest.mark.parametrize("name", REAL)
def test_estimates_of_real_logs_are_the_formulas(name: str) -> None:
    log = real(name)
    for estimator in NAMES:
        assert ours(estimator, log, 5.0) == pytest.approx(by_hand(estimator, log, 5.0), rel=1e-9, abs=1e-9)


@pytest.mark.skipif(peers.python() is None, reason="the Open Bandit Pipeline is not at hand: tools/setup peers")
@pytest.mark.skipif(not (HILLSTROM.exists() and OPEN_BANDIT.exists()), reason="the real logs are not here")
def test_estimates_of_real_logs_are_those_of_the_open_bandit_pipeline(tmp_path: Path) -> None:
    logs = {name: real(name) for name in ("hillstrom", "men", "women", "all")}
    for name, log in logs.items():
        log.write(tmp_path / name)
    folders = [str(tmp_path / name) for name in logs]
    theirs = peers.run("open_bandit_pipeline", "--threshold", "5.0", "--log", *folders, interpreter=peers.python())["logs"]
    for log, said in zip(logs.values(), theirs, strict=True):
        assert set(said["values"]) == set(NAMES)
        for estimator in NAMES:
            assert ours(estimator, log, 5.0) == pytest.approx(said["values"][estimator], rel=1e-9, abs=1e-9)


def test_thresholds_beyond_all_weights_clip_and_switch_nothing() -> None:
    log = small()

    assert terms_of("clipped_ips", log, threshold=99.0).value == terms_of("ips", log).value
    assert terms_of("switch_dr", log, threshold=99.0).value == terms_of("dr", log).value
    assert terms_of("switch_dr", log, threshold=0.01).value == terms_of("dm", log).value
    assert terms_of("clipped_ips", log).threshold == 2.0


def test_switching_gives_up_weights_that_add_more_noise_than_their_bias_could_cost() -> None:
    n = 1_000
    weights = np.ones(n)
    errors = np.where(np.arange(n) % 2, 0.1, -0.1)
    weights[0] = 400.0

    def log(error: float) -> Logged:
        own = errors.copy()
        own[0] = error
        return Logged(own, 1.0 / weights, np.ones(n), np.zeros(n), np.zeros(n))

    # of the one heavy row: variance of the mean (400·0.1)²/1000² = 0.04², bias that giving it up may cost R·400/1000
    assert switch_threshold(log(0.1), candidates=[1.0, 400.0], most_error=0.01) == 1.0
    assert switch_threshold(log(0.1), candidates=[1.0, 400.0], most_error=10.0) == 400.0
    assert switch_threshold(log(0.1), candidates=[1.0], most_error=10.0) == 1.0
    assert 1.0 <= switch_threshold(log(0.1), most_error=0.01) < 400.0
    assert switch_threshold(log(0.1), most_error=10.0) == 400.0
    nothing = Logged(errors, np.ones(n), np.zeros(n), np.zeros(n), np.zeros(n))
    assert switch_threshold(nothing) == math.inf


def test_a_policy_that_shows_what_was_shown_earns_what_was_earned() -> None:
    rewards = np.array([1.0, 0.0, 5.0])
    shares = np.array([0.2, 0.5, 1.0])
    log = Logged(rewards, shares, shares, np.array([9.0, 9.0, 9.0]), np.array([9.0, 9.0, 9.0]))

    for name in ("ips", "clipped_ips", "snips", "dr", "switch_dr"):
        assert terms_of(name, log, threshold=1.0 if name in ("clipped_ips", "switch_dr") else None).value == pytest.approx(2.0)
    assert under(np.array([[0.5, 0.5]]), np.array([[1.0, 3.0]])).tolist() == [2.0]


@pytest.mark.parametrize(
    ("name", "threshold", "said"), [("dr", None, "needs a reward model"), ("dm", None, "needs a reward model"), ("ips", 0.0, "positive")]
)
def test_what_cannot_be_estimated_is_refused(name: EstimatorName, threshold: float | None, said: str) -> None:
    with pytest.raises(DataRefused, match=said):
        terms_of(name, Logged(np.ones(1), np.ones(1), np.ones(1)), threshold=threshold)


@pytest.mark.parametrize("name", NAMES)
def test_what_every_estimator_owes(name: EstimatorName) -> None:
    seed = 7
    random = np.random.default_rng(seed)
    n = 400
    shares, target = random.uniform(0.2, 1.0, n), random.random(n)
    model = random.random((2, n))
    log = Logged(random.exponential(size=n), shares, target, *model)
    entity = random.integers(0, 90, n)
    threshold = 2.0 if name in ("clipped_ips", "switch_dr") else None

    def made(log: Logged, entity: np.ndarray) -> Estimate:
        return terms_of(name, log, threshold=threshold).estimate(entity)

    plain = made(log, entity)
    # the order of rows does not matter, nor what entities are called
    order = random.permutation(n)
    moved = made(Logged(*(column[order] for column in (log.rewards, shares, target, *model))), 1_000 - entity[order])
    # nor the unit of rewards, but for the unit of the value
    cents = made(Logged(100 * log.rewards, shares, target, *(100 * model)), entity)
    for other, unit in ((moved, 1.0), (cents, 100.0)):
        assert (other.value, other.low, other.high) == pytest.approx((unit * plain.value, unit * plain.low, unit * plain.high), rel=1e-9)
    # what it is surer of is wider, and it lies within
    wide = terms_of(name, log, threshold=threshold).estimate(entity, confidence=0.99)
    assert wide.low < plain.low < plain.value < plain.high < wide.high
    # two copies of an entity's rows are no more evidence
    twice = made(Logged(*(np.tile(column, 2) for column in (log.rewards, shares, target, *model))), np.tile(entity, 2))
    assert (twice.value, twice.standard_error) == pytest.approx((plain.value, plain.standard_error), rel=1e-9)
