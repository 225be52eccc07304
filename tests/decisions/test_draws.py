"""Over fresh salts and draws, what is shown is as frequent as what is logged says: for every composition of control, arms and policy.

`make test ARGS="tests/decisions/test_draws.py --draws 1000000"` takes a million draws of each composition.
"""

import math
from collections import Counter
from copy import copy
from random import Random

import msgspec
import numpy as np
import pytest

from contracts.catalogue import NO_ACTION, Catalogue
from contracts.traffic import CANARY, CHALLENGER, CHAMPION, CONTROL, Arm, TrafficPlan
from decisions.assignment import assign
from decisions.decide import baseline_probabilities
from decisions.policies import PolicySpec, build_policy, choose

SCORES = {"r-champion": [0.0, 1.0, 0.25, 3.0], "r-canary": [0.0, 2.0, 2.0, -1.0], "r-challenger": [5.0, 0.5, 1.5, 1.0], "r-b": [1.0] * 4}

POLICIES = {
    "uniform": PolicySpec("uniform"),
    "greedy": PolicySpec("greedy"),
    "epsilon_greedy": PolicySpec("epsilon_greedy", 0.1),
    "ranked": PolicySpec("ranked", 0.3, ("coins", "gems")),
    "softmax": PolicySpec("softmax", 0.02, temperature=0.5),
    "inverse_gap": PolicySpec("inverse_gap", 0.04, gamma=7.0),
    "new": PolicySpec("inverse_gap", gamma=7.0, explore_new=0.5, seen={NO_ACTION: 9, "gems": 9, "coins": 9}),
}

ARMS = {
    "champion": (Arm(CHAMPION, "r-champion", 1.0),),
    "canary": (Arm(CHAMPION, "r-champion", 0.98), Arm(CANARY, "r-canary", 0.02)),
    "a_b": (Arm(CHAMPION, "r-champion", 0.5), Arm(CHALLENGER, "r-challenger", 0.5)),
    "a_b_n_and_canary": (
        Arm(CHAMPION, "r-champion", 0.55),
        Arm(CANARY, "r-canary", 0.05),
        Arm(CHALLENGER, "r-challenger", 0.25, ((0.75, 0.875), (0.375, 0.5))),
        Arm("challenger_b", "r-b", 0.15),
    ),
}

COMPOSITIONS = [
    pytest.param(ARMS[arms], control, policy, id=f"{arms}-control_{control}-{name}")
    for arms in ARMS
    for control in (0.0, 0.1)
    for name, policy in POLICIES.items()
]

FALSE_ALARM = 1e-6
"""Of all compositions together."""


@pytest.mark.parametrize("arms, control, spec", COMPOSITIONS)
def test_frequencies_are_the_logged_probabilities(
    arms: tuple[Arm, ...], control: float, spec: PolicySpec, catalogue: Catalogue, draws: int, draws_seed: int
) -> None:
    ids = tuple(candidate.candidate_id for candidate in catalogue.candidates)
    policy, random = build_policy(spec, catalogue), Random(draws_seed)
    p_in_arm = {release: policy.probabilities(np.array(scores), np.arange(4)).tolist() for release, scores in SCORES.items()}
    of_control = baseline_probabilities(ids, NO_ACTION)
    plan = TrafficPlan("game", 1, control, arms, "", "")
    drawn: Counter[tuple[str, str, float]] = Counter()

    for _ in range(draws):
        assignment = assign(salted_anew(plan, random), "player-1")
        probabilities = of_control if assignment.arm == CONTROL else p_in_arm[assignment.release_id]
        place = choose(probabilities, random.random())
        drawn[assignment.arm, ids[place], assignment.arm_probability * probabilities[place]] += 1

    assert len({cell[:2] for cell in drawn}) == len(drawn), "the same arm and action was logged with two probabilities"
    bound = math.log(2 * (len(drawn) + 1) * len(COMPOSITIONS) / FALSE_ALARM)
    for (arm, action, logged), count in drawn.items():
        assert draws * divergence(count / draws, logged) <= bound, f"{arm} {action}: {count} of {draws}, logged {logged}"
    missing = 1.0 - sum(logged for _, _, logged in drawn)
    assert missing >= -1e-9 and draws * divergence(0.0, max(0.0, missing)) <= bound, f"{missing} of what was logged never came"


def salted_anew(plan: TrafficPlan, random: Random) -> TrafficPlan:
    """The plan with other salts; not checked again, which would cost more than the draw."""
    salted = copy(plan)
    msgspec.structs.force_setattr(salted, "salt", f"{random.getrandbits(64):x}")
    msgspec.structs.force_setattr(salted, "control_salt", f"{random.getrandbits(64):x}")
    return salted


def divergence(frequency: float, probability: float) -> float:
    """Of a coin with that frequency from one with that probability, in nats; never is it `d / n` in n throws but with a probability of at
    most 2·e⁻ᵈ (Chernoff 1952; Hoeffding 1963, theorem 1), whatever the probability: no table of the normal is trusted at 1e-10."""
    said = 0.0
    for seen, expected in ((frequency, probability), (1.0 - frequency, 1.0 - probability)):
        if seen > 0.0:
            said += seen * math.log(seen / expected) if expected > 0.0 else math.inf
    return said


@pytest.mark.parametrize("shift", [0.03, -0.03])
def test_the_bound_finds_a_probability_that_is_logged_wrongly(shift: float) -> None:
    bound = math.log(2 * 9 * len(COMPOSITIONS) / FALSE_ALARM)

    assert 18_000 * divergence(0.25 + shift, 0.25) > bound > 18_000 * divergence(0.25 + shift / 4, 0.25)
