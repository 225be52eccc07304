import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import Candidate, Catalogue
from contracts.errors import DefinitionError
from decisions.matrix import Floats, Positions
from decisions.policies import PolicySpec, build_policy, choose, probability_matrix

CATALOGUE = Catalogue(tuple(Candidate(f"c{position}", {"price": position}) for position in range(30)))

SPECS = (
    PolicySpec("uniform"),
    PolicySpec("greedy"),
    PolicySpec("epsilon_greedy", 0.1),
    PolicySpec("epsilon_greedy", 1 / 3),
    PolicySpec("epsilon_greedy", 0.0),
    PolicySpec("epsilon_greedy", 1.0),
    PolicySpec("ranked", order=("c7", "c3")),
    PolicySpec("ranked", 0.3, ("c29",)),
)

eligible = st.lists(st.integers(0, 29), min_size=1, unique=True).map(sorted)
finite = st.floats(-1e12, 1e12)


@pytest.mark.parametrize("spec", SPECS, ids=str)
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
    assert len(places) == 1 or spec.randomised == bool(probabilities.min() > 0.0)


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
    ids=str,
)
def test_the_second_and_third_score_alike_and_best(spec: PolicySpec, expected: list[float]) -> None:
    probabilities = build_policy(spec, CATALOGUE).probabilities(np.array([0.0, 5.0, 5.0, -1.0]), np.array([1, 3, 5, 7]))

    assert probabilities.tolist() == expected


@pytest.mark.parametrize("spec", SPECS, ids=str)
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


@pytest.mark.parametrize("spec", SPECS, ids=str)
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
        (b'{"kind": "uniform", "temperature": 1}', "unknown field"),
    ],
)
def test_a_spec_that_says_nothing_sensible_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises((DefinitionError, msgspec.ValidationError), match=reason):
        msgspec.json.decode(content, type=PolicySpec)


@pytest.mark.parametrize("order", [("c1", "c1"), ("c1", "nobody")])
def test_a_ranking_names_candidates_of_the_catalogue_once(order: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match="order names"):
        build_policy(PolicySpec("ranked", order=order), CATALOGUE)
