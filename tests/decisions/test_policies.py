import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import Candidate, Catalogue
from contracts.errors import DefinitionError
from decisions.exploration import _exponential
from decisions.matrix import Floats, Positions
from decisions.policies import PolicySpec, build_policy, choose, probability_matrix

CATALOGUE = Catalogue(tuple(Candidate(f"c{position}", {"price": position}) for position in range(30)))

SEEN = {f"c{position}": position for position in range(30) if position % 3}
"""Nothing is seen of every third candidate, and little of the first five."""

TILTED = 1 + 3 + 3 + 3**-0.2

SPECS = (
    PolicySpec("uniform"),
    PolicySpec("greedy"),
    PolicySpec("epsilon_greedy", 0.1),
    PolicySpec("epsilon_greedy", 1 / 3),
    PolicySpec("epsilon_greedy", 0.0),
    PolicySpec("epsilon_greedy", 1.0),
    PolicySpec("ranked", order=("c7", "c3")),
    PolicySpec("ranked", 0.3, ("c29",)),
    PolicySpec("softmax", temperature=0.3),
    PolicySpec("softmax", 0.05, temperature=0.01, scale=2.5),
    PolicySpec("inverse_gap", gamma=40.0),
    PolicySpec("inverse_gap", 0.02, gamma=1e6, scale=0.3),
    PolicySpec("greedy", explore_new=0.5, seen=SEEN, new_below=5),
    PolicySpec("softmax", 0.1, temperature=1.0, explore_new=1.0, seen=SEEN, new_below=5),
    PolicySpec("inverse_gap", 0.01, gamma=3.0, explore_new=0.2, seen=SEEN, new_below=5),
    PolicySpec("ranked", 0.3, ("c29", "c1"), explore_new=0.7, seen=SEEN, new_below=5),
)


def said(given: object) -> str:
    return msgspec.json.encode(given).decode()[:60] if isinstance(given, PolicySpec) else ""


eligible = st.lists(st.integers(0, 29), min_size=1, unique=True).map(sorted)
finite = st.floats(-1e12, 1e12)


@pytest.mark.parametrize("spec", SPECS, ids=said)
@given(places=eligible, data=st.data())
def test_probabilities_are_a_distribution_with_the_declared_least_propensity(
    spec: PolicySpec, places: list[int], data: st.DataObject
) -> None:
    scores = np.array(data.draw(st.lists(finite, min_size=len(places), max_size=len(places))))
    policy = build_policy(spec, CATALOGUE)

    probabilities = policy.probabilities(scores, np.array(places))

    assert probabilities.shape == (len(places),)
    assert abs(probabilities.sum() - 1.0) <= 1e-12
    assert probabilities.min() >= spec.least_propensity(len(places)) * (1 - 1e-12)
    assert probabilities.tobytes() == policy.probabilities(scores, np.array(places)).tobytes()
    known = [place for place, position in enumerate(places) if not spec.explore_new or spec.seen.get(f"c{position}", 0) >= spec.new_below]
    assert len(known) < 2 or spec.randomised == bool(probabilities[known].min() > 0.0)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.kind != "ranked"], ids=said)
@given(places=eligible, data=st.data())
def test_the_order_of_candidates_does_not_matter_where_none_are_alike(spec: PolicySpec, places: list[int], data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.integers(-1_000, 1_000), min_size=len(places), max_size=len(places), unique=True))
    there = np.array(data.draw(st.permutations(range(len(places)))))
    policy = build_policy(spec, CATALOGUE)

    given_order = policy.probabilities(np.array(scores) / 8.0, np.array(places))
    another = policy.probabilities(np.array(scores)[there] / 8.0, np.array(places)[there])

    assert np.abs(given_order[there] - another).max() <= 1e-12


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=24), st.sampled_from([1e-6, 0.01, 1_000.0, 1e6]))
def test_the_currency_does_not_matter(scores: list[int], rate: float) -> None:
    for spec in (PolicySpec("softmax", temperature=0.5), PolicySpec("inverse_gap", gamma_scale=0.1)):
        dollars, other = (
            build_policy(spec.trained(rows=500, candidates=24, scale=12.0 * unit), CATALOGUE).probabilities(
                np.array(scores) * unit, np.arange(len(scores))
            )
            for unit in (1.0, rate)
        )
        assert np.abs(dollars - other).max() <= 1e-9


@pytest.mark.parametrize(
    "spec, expected",
    [
        (PolicySpec("uniform"), [0.25, 0.25, 0.25, 0.25]),
        (PolicySpec("greedy"), [0.0, 1.0, 0.0, 0.0]),
        (PolicySpec("epsilon_greedy", 0.5), [0.125, 0.625, 0.125, 0.125]),
        (PolicySpec("ranked", order=("c9", "c7")), [0.0, 0.0, 0.0, 1.0]),
        (PolicySpec("ranked", order=("c9", "c3")), [0.0, 1.0, 0.0, 0.0]),
        (PolicySpec("ranked", 0.5, ("c9",)), [0.625, 0.125, 0.125, 0.125]),
    ],
    ids=said,
)
def test_the_second_and_third_score_alike_and_best(spec: PolicySpec, expected: list[float]) -> None:
    probabilities = build_policy(spec, CATALOGUE).probabilities(np.array([0.0, 5.0, 5.0, -1.0]), np.array([1, 3, 5, 7]))

    assert probabilities.tolist() == expected


@pytest.mark.parametrize(
    "spec, expected",
    [
        (PolicySpec("softmax", temperature=5 / math.log(3)), [1 / TILTED, 3 / TILTED, 3 / TILTED, 3**-0.2 / TILTED]),
        (PolicySpec("softmax", temperature=0.5 / math.log(3), scale=10.0), [1 / TILTED, 3 / TILTED, 3 / TILTED, 3**-0.2 / TILTED]),
        (PolicySpec("inverse_gap", gamma=0.8), [1 / 8, 1 - 1 / 8 - 1 / 4 - 1 / 8.8, 1 / 4, 1 / 8.8]),
        (PolicySpec("inverse_gap", 0.5, gamma=8.0, scale=10.0), [3 / 16, 1 - 3 / 16 - 1 / 4 - 1 / 8 - 1 / 17.6, 1 / 4, 1 / 8 + 1 / 17.6]),
        (PolicySpec("greedy", explore_new=0.4, seen={"c1": 9, "c7": 9}), [0.8, 0.1, 0.1, 0.0]),
        (PolicySpec("greedy", explore_new=0.4, seen={"c9": 9}), [0.25, 0.25, 0.25, 0.25]),
        (PolicySpec("greedy", explore_new=0.4, seen={"c1": 9, "c3": 9, "c5": 10, "c7": 9}, new_below=10), [0.1, 0.1, 0.7, 0.1]),
        (PolicySpec("greedy", explore_new=0.4), [0.0, 1.0, 0.0, 0.0]),
    ],
    ids=said,
)
def test_what_explores_by_scores_or_by_novelty(spec: PolicySpec, expected: list[float]) -> None:
    probabilities = build_policy(spec, CATALOGUE).probabilities(np.array([0.0, 5.0, 5.0, -1.0]), np.array([1, 3, 5, 7]))

    assert probabilities == pytest.approx(expected, abs=1e-12)


def test_training_writes_what_depends_on_the_data() -> None:
    spec = PolicySpec("inverse_gap", gamma_scale=0.5, explore_new=0.3)

    trained = spec.trained(rows=1_000, candidates=10, scale=0.25, seen={"c1": 3})

    assert trained == PolicySpec("inverse_gap", gamma=50.0, gamma_scale=0.5, scale=0.25, explore_new=0.3, seen={"c1": 3})
    assert trained.trained(rows=4_000, candidates=10, scale=-1.0).gamma == 50.0
    assert spec.trained(rows=4_000, candidates=10, scale=math.nan).gamma == 100.0
    assert PolicySpec("softmax", temperature=2.0).trained(rows=9, candidates=2, scale=0.0).scale == 1.0
    assert PolicySpec("greedy").trained(rows=9, candidates=2, scale=3.0, seen={"c1": 3}) == PolicySpec("greedy")


def test_the_exponential_is_right_to_the_last_places() -> None:
    exponents = np.concatenate([np.linspace(-700.0, 0.0, 7_001), -np.geomspace(1e-17, 1.0, 1_000)])

    expected = np.array([math.exp(max(exponent, -600.0)) for exponent in exponents.tolist()])

    assert np.abs(_exponential(exponents) / expected - 1.0).max() <= 2 * np.finfo(np.float64).eps


@pytest.mark.parametrize("spec", SPECS, ids=said)
@given(decisions=st.lists(st.tuples(eligible, st.lists(st.integers(-2, 2), min_size=30, max_size=30)), min_size=1, max_size=8))
def test_many_decisions_at_once_get_the_same_bits(spec: PolicySpec, decisions: list[tuple[list[int], list[int]]]) -> None:
    policy = build_policy(spec, CATALOGUE)
    scores = np.array([own for _, own in decisions], dtype=np.float64)
    mask = np.array([[position in places for position in range(30)] for places, _ in decisions])
    scores[~mask] = -np.inf

    together = probability_matrix(policy, scores, mask)

    assert not together[~mask].any()
    for row, (places, _) in enumerate(decisions):
        assert together[row, places].tobytes() == policy.probabilities(scores[row, places], np.array(places)).tobytes()


def test_many_decisions_of_a_policy_of_ones_own() -> None:
    class Proportional:
        def probabilities(self, scores: Floats, positions: Positions) -> Floats:
            shares: Floats = scores / scores.sum()
            return shares

    together = probability_matrix(Proportional(), np.array([[1.0, 3.0], [9.0, 5.0]]), np.array([[True, True], [False, True]]))

    assert together.tolist() == [[0.25, 0.75], [0.0, 1.0]]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=24).filter(lambda weights: sum(weights) > 0.01))
def test_a_candidate_is_chosen_as_often_as_its_probability_says(weights: list[float]) -> None:
    probabilities = (np.array(weights) / sum(weights)).tolist()
    draws = (np.arange(2_000) + 0.5) / 2_000

    chosen = np.bincount([choose(probabilities, float(draw)) for draw in draws], minlength=len(weights)) / 2_000

    # why: an even grid of draws misses the length of an interval by at most one step at each of its two ends
    assert np.abs(chosen - probabilities).max() <= 1 / 1_000
    assert not chosen[np.array(probabilities) == 0.0].any()


def test_rounding_at_the_far_end_chooses_the_last_candidate_that_can_be() -> None:
    assert choose([0.1] * 10 + [0.0], float(np.nextafter(1.0, 0.0))) == 9


@pytest.mark.parametrize("spec", SPECS, ids=said)
def test_a_spec_survives_json(spec: PolicySpec) -> None:
    assert msgspec.json.decode(msgspec.json.encode(spec), type=PolicySpec) == spec


@pytest.mark.parametrize(
    "content, reason",
    [
        (b'{"kind": "epsilon_greedy", "epsilon": 1.5}', "epsilon is 1.5"),
        (b'{"kind": "uniform", "epsilon": 0.1}', "epsilon is 0.1"),
        (b'{"kind": "greedy", "order": ["a"]}', "order is"),
        (b'{"kind": "ranked"}', "order is"),
        (b'{"kind": "thompson"}', "Invalid enum value"),
        (b'{"kind": "uniform", "heat": 1}', "unknown field"),
        (b'{"kind": "uniform", "temperature": 1}', "temperature is 1"),
        (b'{"kind": "softmax"}', "temperature is 0"),
        (b'{"kind": "softmax", "temperature": 1, "gamma": 2}', "gamma is 2"),
        (b'{"kind": "inverse_gap", "gamma_scale": 0}', "gamma_scale is 0"),
        (b'{"kind": "inverse_gap", "gamma_exponent": 1.5}', "gamma_exponent is 1.5"),
        (b'{"kind": "uniform", "explore_new": 0.5}', "explore_new is 0.5"),
        (b'{"kind": "greedy", "new_below": 0}', "new_below is 0"),
    ],
)
def test_a_spec_that_says_nothing_sensible_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises((DefinitionError, msgspec.ValidationError), match=reason):
        msgspec.json.decode(content, type=PolicySpec)


def test_inverse_gaps_wait_for_training_to_say_their_gamma() -> None:
    with pytest.raises(DefinitionError, match="has no gamma"):
        build_policy(PolicySpec("inverse_gap"), CATALOGUE)


@pytest.mark.parametrize("order", [("c1", "c1"), ("c1", "nobody")])
def test_a_ranking_names_candidates_of_the_catalogue_once(order: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match="order names"):
        build_policy(PolicySpec("ranked", order=order), CATALOGUE)
