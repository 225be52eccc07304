import dataclasses
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.clock import DAY_US, HOUR_US
from contracts.records import CandidateProbability, Decision
from contracts.traffic import CHAMPION, CONTROL
from decisions.assignment import Assignment
from decisions.decide import DecisionRequest, ReleaseRuntime, decide
from decisions.explain import exclusions, recompute
from decisions.policies import PolicySpec, build_policy
from features.definitions import FeatureRow

NOW = 1_000 * DAY_US
REQUEST = DecisionRequest("d-1", "game", "player-1")


def decision(runtime: ReleaseRuntime, values: tuple[float, ...] = (7.0, 1.0, 2.5), draw: float = 0.4, arm: str = CHAMPION) -> Decision:
    row = FeatureRow(np.array(values), (), np.array([0, 0, 0]), (), 3)
    return decide(REQUEST, row, runtime, Assignment(arm, 0.5, "r-model"), draw=draw, now_us=NOW, shown={"coins": [NOW - HOUR_US]})


@given(
    level=st.floats(allow_nan=True, allow_infinity=False),
    country=st.integers(-1, 2),
    spend=st.floats(-1e9, 1e9),
    draw=st.floats(0.0, 1.0, exclude_max=True),
    arm=st.sampled_from([CHAMPION, CONTROL]),
)
def test_the_stored_row_and_the_release_suffice_to_the_last_bit(
    runtime: ReleaseRuntime, level: float, country: int, spend: float, draw: float, arm: str
) -> None:
    made = decision(runtime, (level, float(country), spend), draw, arm)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Decision)

    explanation = recompute(stored, runtime)

    assert explanation.exact
    assert explanation.candidates == made.candidates
    assert (explanation.action, explanation.propensity) == (made.action, made.propensity)


def changed(made: Decision, **fields: object) -> Decision:
    return msgspec.structs.replace(made, **fields)


def test_every_difference_is_named_with_both_values(runtime: ReleaseRuntime) -> None:
    made = decision(runtime)
    first = made.candidates[0]
    nudged = CandidateProbability(first.candidate_id, first.p_in_arm, math.nextafter(first.score, math.inf))

    explanation = recompute(changed(made, candidates=(nudged, *made.candidates[1:]), action="coins", propensity=0.9), runtime)

    assert not explanation.exact
    assert [difference.partition(":")[0] for difference in explanation.differences] == ["score of none", "action", "propensity"]
    assert explanation.differences[0] == f"score of none: logged {nudged.score!r}, recomputed {first.score!r}"


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"release_id": "r-other"}, "release: logged r-other, the release has r-model"),
        ({"feature_set": "x"}, "feature set: logged x"),
        ({"catalogue": "x"}, "catalogue: logged x"),
        ({"features": (1.0,)}, "number of features: logged 1, the release has 3"),
        ({"candidates": (CandidateProbability("withdrawn", 1.0, 0.0),)}, "candidates: logged ['withdrawn']"),
        ({"candidates": ()}, "candidates: logged none"),
    ],
)
def test_a_row_of_another_release_is_not_recomputed(runtime: ReleaseRuntime, fields: dict[str, object], reason: str) -> None:
    explanation = recompute(changed(decision(runtime), **fields), runtime)

    assert (explanation.candidates, explanation.action) == ((), "")
    assert explanation.differences[0].startswith(reason)


def test_it_says_why_each_other_candidate_was_not_eligible(runtime: ReleaseRuntime) -> None:
    made = decision(runtime, (4.0, 1.0, 2.5))
    assert [candidate.candidate_id for candidate in made.candidates] == ["none", "gems"]

    assert exclusions(made, runtime, {"coins": [NOW - HOUR_US]}) == {
        "gems_dear": ("rule level >= 5 does not hold",),
        "coins": ("limit 1 of itself in 24 h is used up",),
    }
    assert exclusions(made, runtime)["coins"] == ()


@pytest.mark.parametrize(
    "spec",
    [
        PolicySpec("softmax", 0.03, temperature=0.4, scale=200.0),
        PolicySpec("inverse_gap", 0.03, gamma=11.0, scale=200.0, explore_new=0.7, seen={"none": 80, "gems": 90}),
    ],
    ids=lambda spec: spec.kind,
)
@given(level=st.integers(1, 9), draw=st.floats(0.0, 1.0, exclude_max=True))
def test_what_explores_by_scores_is_computed_again_too(runtime: ReleaseRuntime, spec: PolicySpec, level: int, draw: float) -> None:
    exploring = dataclasses.replace(
        runtime, policy=build_policy(msgspec.json.decode(msgspec.json.encode(spec), type=PolicySpec), runtime.catalogue)
    )
    made = decision(exploring, (float(level), 1.0, 2.5), draw)

    assert recompute(made, exploring).exact
    assert made.propensity > 0.0
