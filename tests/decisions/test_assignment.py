from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.traffic import CANARY, CHALLENGER, CHAMPION, CONTROL, Arm, TrafficPlan
from decisions.assignment import assign, place

ENTITIES = [f"player-{number}" for number in range(2_000)]
FEW = ENTITIES[:400]

shares = st.floats(0.0, 0.4)


def plan(canary: float, challenger: float, control: float = 0.1, salt: str = "salt") -> TrafficPlan:
    arms = (
        Arm(CHAMPION, "r-champion", 1.0 - canary - challenger),
        Arm(CANARY, "r-canary", canary),
        Arm(CHALLENGER, "r-challenger", challenger),
    )
    return TrafficPlan("game", 1, control, arms, salt, "control salt")


def arms_of(traffic: TrafficPlan, entities: Sequence[str] = ENTITIES) -> list[str]:
    return [assign(traffic, entity).arm for entity in entities]


@given(st.text(max_size=40), shares, shares)
def test_an_entity_stays_where_it_is(entity: str, canary: float, challenger: float) -> None:
    assert assign(plan(canary, challenger), entity) == assign(plan(canary, challenger), entity)


@given(shares, shares, shares)
def test_ramping_the_canary_moves_entities_between_it_and_the_champion_alone(before: float, after: float, challenger: float) -> None:
    moves = {(was, now) for was, now in zip(arms_of(plan(before, challenger)), arms_of(plan(after, challenger)), strict=True) if was != now}

    assert moves <= ({(CHAMPION, CANARY)} if after > before else {(CANARY, CHAMPION)})


@given(shares, shares, shares)
def test_ramping_the_challenger_moves_entities_between_it_and_the_champion_alone(before: float, after: float, canary: float) -> None:
    moves = {(was, now) for was, now in zip(arms_of(plan(canary, before)), arms_of(plan(canary, after)), strict=True) if was != now}

    assert moves <= ({(CHAMPION, CHALLENGER)} if after > before else {(CHALLENGER, CHAMPION)})


NAMES = (CANARY, CHALLENGER, "challenger_b", "challenger_c")

changes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.2, 1 / 3]) | st.floats(0.001, 0.25)), max_size=12
)


def changed(traffic: TrafficPlan, name: str, share: float) -> TrafficPlan:
    """The next plan: the arm of this name gets that share, or leaves for a share of 0."""
    arms = traffic.with_arm(name, f"r-{name}", share) if share else traffic.without_arm(f"r-{name}")
    return msgspec.structs.replace(traffic, version=traffic.version + 1, arms=arms)


@given(changes)
def test_whatever_comes_after_what_entities_move_between_the_champion_and_the_changed_arm_alone(
    steps: list[tuple[str, float]],
) -> None:
    traffic = TrafficPlan("game", 1, 0.1, (Arm(CHAMPION, "r-champion", 1.0),), "salt", "control salt")
    for name, share in steps:
        before = next((arm.share for arm in traffic.arms if arm.name == name), 0.0)
        if 1.0 - sum(arm.share for arm in traffic.arms[1:] if arm.name != name) < share:
            continue
        after = changed(traffic, name, share)

        moves = {(was, now) for was, now in zip(arms_of(traffic, FEW), arms_of(after, FEW), strict=True) if was != now}

        assert moves <= ({(CHAMPION, name)} if share > before else {(name, CHAMPION)})
        assert next((arm.share for arm in after.arms if arm.name == name), 0.0) == share
        if share:
            lengths = [end - start for arm in after.arms if arm.name == name for start, end in arm.ranges]
            assert sum(lengths) == pytest.approx(share, abs=1e-12)
        traffic = after


@given(changes, st.sampled_from(NAMES), st.floats(0.01, 0.2), st.floats(0.01, 0.2))
def test_lowering_a_share_and_raising_it_again_moves_the_same_entities_back(
    steps: list[tuple[str, float]], name: str, low: float, high: float
) -> None:
    traffic = TrafficPlan("game", 1, 0.0, (Arm(CHAMPION, "r-champion", 1.0),), "salt", "control salt")
    for step, share in steps:
        if sum(arm.share for arm in traffic.arms[1:] if arm.name != step) + share < 0.8:
            traffic = changed(traffic, step, share)

    raised = changed(changed(traffic, name, min(low, high)), name, max(low, high)) if traffic.champion.share > 0.5 else traffic
    back = changed(changed(raised, name, min(low, high)), name, max(low, high)) if traffic.champion.share > 0.5 else traffic

    assert arms_of(raised, FEW) == arms_of(back, FEW)


def test_control_is_the_same_entities_whatever_the_experiment() -> None:
    first = {entity for entity, arm in zip(ENTITIES, arms_of(plan(0.0, 0.0)), strict=True) if arm == CONTROL}
    second = {entity for entity, arm in zip(ENTITIES, arms_of(plan(0.2, 0.3, salt="another")), strict=True) if arm == CONTROL}

    assert first == second != set()


@pytest.mark.parametrize("canary, challenger, control", [(0.0, 0.5, 0.1), (0.05, 0.0, 0.15), (0.25, 0.25, 0.0)])
def test_arm_probability_is_the_frequency_over_redrawn_salts(canary: float, challenger: float, control: float) -> None:
    salts = 20_000
    drawn: Counter[tuple[str, float, str]] = Counter()
    for number in range(salts):
        traffic = TrafficPlan("game", 1, control, plan(canary, challenger).arms, f"salt-{number}", f"control-{number}")
        given_arm = assign(traffic, "player-1")
        drawn[given_arm.arm, given_arm.arm_probability, given_arm.release_id] += 1

    assert sum(probability for _, probability, _ in drawn) == pytest.approx(1.0)
    for (arm, probability, release), count in drawn.items():
        # why: five standard deviations of a binomial; the salts are fixed, so this either holds or never does
        assert abs(count - salts * probability) < 5 * (salts * probability * (1 - probability)) ** 0.5
        assert release == f"r-{CHAMPION if arm == CONTROL else arm}"


@given(st.text(max_size=20), st.text(max_size=20), st.characters(categories=["Cs"]))
def test_a_place_is_in_the_unit_interval_for_any_text(salt: str, entity: str, surrogate: str) -> None:
    assert 0.0 <= place(salt, entity + surrogate) < 1.0
