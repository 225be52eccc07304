import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import NO_ACTION, Catalogue
from contracts.clock import DAY_US, HOUR_US
from contracts.errors import DefinitionError
from contracts.records import CandidateProbability
from contracts.traffic import CHAMPION, CONTROL
from decisions.assignment import Assignment
from decisions.decide import DecisionRequest, ReleaseRuntime, build_runtime, decide, score_in_shadow
from decisions.policies import PolicySpec
from features.definitions import FeatureRow, FeatureSet

NOW = 1_000 * DAY_US
REQUEST = DecisionRequest("d-1", "game", "player-1", {"screen": "shop"})
IN_CHAMPION = Assignment(CHAMPION, 0.9, "r-table")
IN_CONTROL = Assignment(CONTROL, 0.1, "r-table")


def row(level: float = 9.0, country: float = 0.0, stale: tuple[str, ...] = ()) -> FeatureRow:
    return FeatureRow(np.array([level, country, 0.0]), ("spend_7d",), np.array([HOUR_US, HOUR_US, -1]), stale, 17)


def table_runtime(catalogue: Catalogue, features: FeatureSet, policy: PolicySpec, baseline: str = NO_ACTION) -> ReleaseRuntime:
    return build_runtime(
        "r-table",
        catalogue=catalogue,
        features=features,
        policy=policy,
        scorer_kind="table",
        files={"table.json": b'{"none": 0, "gems": 2.5, "gems_dear": 1, "coins": 3}'},
        baseline=baseline,
        ttl_us=HOUR_US,
    )


def test_a_decision_says_all_it_was_made_from(catalogue: Catalogue, features: FeatureSet) -> None:
    runtime = table_runtime(catalogue, features, PolicySpec("epsilon_greedy", 0.5))

    decision = decide(
        REQUEST, row(level=3.0, stale=("country",)), runtime, IN_CHAMPION, draw=0.3, now_us=NOW, simulated=True, degraded=("state:lag",)
    )

    assert decision.candidates == (
        CandidateProbability("none", 0.5 / 3, 0.0),
        CandidateProbability("gems", 0.5 / 3, 2.5),
        CandidateProbability("coins", 0.5 / 3 + 0.5, 3.0),
    )
    assert (decision.action, decision.propensity, decision.draw) == ("gems", 0.5 / 3, 0.3)
    assert (decision.features, decision.ages_us, decision.missing) == ((3.0, 0.0, 0.0), (HOUR_US, HOUR_US, -1), ("spend_7d",))
    assert decision.degraded == ("state:lag", "stale:country")
    assert (decision.decided_at, decision.expires_at) == (NOW, NOW + HOUR_US)
    assert (decision.arm, decision.arm_probability, decision.release_id) == (CHAMPION, 0.9, "r-table")
    assert (decision.feature_set, decision.catalogue) == (features.digest, catalogue.digest)
    assert (decision.seen_seq, decision.seq, decision.simulated, decision.source) == (17, 0, True, "served")
    assert (decision.decision_id, decision.use_case, decision.entity_id) == ("d-1", "game", "player-1")
    assert (decision.context, decision.request_digest) == ({"screen": "shop"}, REQUEST.digest())


@pytest.mark.parametrize(
    "baseline, level, shown, action",
    [
        (NO_ACTION, 9.0, {}, NO_ACTION),
        ("gems_dear", 9.0, {}, "gems_dear"),
        ("gems_dear", 3.0, {}, NO_ACTION),
        ("coins", 9.0, {"coins": [NOW - HOUR_US]}, NO_ACTION),
    ],
)
@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_control_gets_the_baseline_where_it_is_eligible(
    catalogue: Catalogue, features: FeatureSet, baseline: str, level: float, shown: dict[str, list[int]], action: str, draw: float
) -> None:
    runtime = table_runtime(catalogue, features, PolicySpec("uniform"), baseline)

    decision = decide(REQUEST, row(level), runtime, IN_CONTROL, draw=draw, now_us=NOW, shown=shown)

    assert (decision.action, decision.propensity) == (action, 1.0)
    assert sum(candidate.p_in_arm for candidate in decision.candidates) == 1.0


@given(level=st.integers(0, 9), country=st.integers(-1, 2), draw=st.floats(0.0, 1.0, exclude_max=True), control=st.booleans())
def test_probabilities_sum_to_one_and_the_action_lies_under_the_draw(
    runtime: ReleaseRuntime, level: int, country: int, draw: float, control: bool
) -> None:
    decision = decide(
        REQUEST,
        row(level, country),
        runtime,
        IN_CONTROL if control else IN_CHAMPION,
        draw=draw,
        now_us=NOW,
        shown={"coins": [NOW - 2 * DAY_US]},
    )

    names = [candidate.candidate_id for candidate in decision.candidates]
    probabilities = [candidate.p_in_arm for candidate in decision.candidates]
    place = names.index(decision.action)
    assert abs(sum(probabilities) - 1.0) <= 1e-12
    assert decision.propensity == probabilities[place] > 0.0
    assert sum(probabilities[:place]) - 1e-12 <= draw <= sum(probabilities[: place + 1]) + 1e-12


def test_actions_come_as_often_as_they_are_logged_to(runtime: ReleaseRuntime) -> None:
    draws = (np.arange(4_000) + 0.5) / 4_000

    decisions = [decide(REQUEST, row(), runtime, IN_CHAMPION, draw=float(draw), now_us=NOW) for draw in draws]

    for candidate in decisions[0].candidates:
        share = sum(decision.action == candidate.candidate_id for decision in decisions) / 4_000
        assert share == pytest.approx(candidate.p_in_arm, abs=1 / 2_000)


def test_the_same_arguments_give_the_same_decision(runtime: ReleaseRuntime) -> None:
    assert decide(REQUEST, row(), runtime, IN_CHAMPION, draw=0.7, now_us=NOW) == decide(
        REQUEST, row(), runtime, IN_CHAMPION, draw=0.7, now_us=NOW
    )


def test_a_request_is_told_apart_by_what_it_asks_not_by_the_order_of_its_words() -> None:
    first = DecisionRequest("d-1", "game", "p", {"a": 1, "b": 2})

    assert first.digest() == DecisionRequest("d-2", "game", "p", {"b": 2, "a": 1}).digest()
    assert (
        len({first.digest(), DecisionRequest("d-1", "game", "q", {"a": 1, "b": 2}).digest(), DecisionRequest("d-1", "game", "p").digest()})
        == 3
    )


def test_the_shadow_says_what_it_would_have_done(catalogue: Catalogue, features: FeatureSet, runtime: ReleaseRuntime) -> None:
    shadow = table_runtime(catalogue, features, PolicySpec("greedy"))
    decision = decide(REQUEST, row(), runtime, IN_CHAMPION, draw=0.7, now_us=NOW)

    score = score_in_shadow(decision, row(), shadow, scored_at=NOW + 5, shown={"coins": [NOW - HOUR_US]})

    assert (score.decision_id, score.use_case, score.release_id, score.scored_at) == ("d-1", "game", "r-table", NOW + 5)
    assert [(candidate.candidate_id, candidate.p_in_arm) for candidate in score.candidates] == [
        ("none", 0.0),
        ("gems", 1.0),
        ("gems_dear", 0.0),
    ]


def test_a_baseline_must_be_a_candidate(catalogue: Catalogue, features: FeatureSet) -> None:
    with pytest.raises(DefinitionError, match="baseline `cake` is no candidate"):
        table_runtime(catalogue, features, PolicySpec("uniform"), "cake")


def test_control_gets_nothing_while_its_baseline_is_withheld(catalogue: Catalogue, features: FeatureSet) -> None:
    runtime = table_runtime(catalogue, features, PolicySpec("uniform"), "gems")

    made = decide(REQUEST, row(9.0), runtime, IN_CONTROL, draw=0.5, now_us=NOW, withheld=("gems",))

    assert (made.action, made.propensity) == (NO_ACTION, 1.0)
    assert "gems" not in {candidate.candidate_id for candidate in made.candidates}
