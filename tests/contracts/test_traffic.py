"""The traffic plan: who is in it, and how its arms are laid out."""

import msgspec
import pytest

from contracts.errors import DefinitionError
from contracts.traffic import Arm, TrafficPlan, stage_of


def plan(*arms: Arm, control: float = 0.1, shadow: str | None = None) -> TrafficPlan:
    return TrafficPlan("shop", 1, control, arms, "salt", "control-salt", shadow)


def test_a_plan_knows_its_champion_and_its_releases() -> None:
    made = plan(Arm("champion", "r-1", 0.5), Arm("challenger", "r-2", 0.5), shadow="r-1")
    assert made.champion.release_id == "r-1" and made.releases == ("r-1", "r-2")


@pytest.mark.parametrize("arms, control", [((), 0.1), ((Arm("champion", "r", 0.5),), 0.1), ((Arm("champion", "r", 1.0),), 1.0)])
def test_shares_that_do_not_add_up_are_refused(arms: tuple[Arm, ...], control: float) -> None:
    with pytest.raises(DefinitionError, match="sum to 1"):
        plan(*arms, control=control)


def test_a_stored_plan_without_ranges_is_laid_out_as_it_always_was() -> None:
    made = plan(Arm("champion", "r-1", 0.5), Arm("canary", "r-2", 0.125), Arm("challenger", "r-3", 0.25), Arm("challenger_b", "r-4", 0.125))

    assert [arm.ranges for arm in made.arms] == [(), ((0.0, 0.125),), ((0.75, 1.0),), ((0.625, 0.75),)]
    assert msgspec.json.decode(msgspec.json.encode(made), type=TrafficPlan) == made


def test_a_growing_arm_takes_from_the_champion_past_its_neighbour_and_gives_that_back_first() -> None:
    made = plan(Arm("champion", "r-1", 0.5), Arm("challenger", "r-2", 0.25), Arm("challenger_b", "r-3", 0.25))

    grown = plan(*made.with_arm("challenger", "r-2", 0.5))
    shrunk = plan(*grown.with_arm("challenger", "r-2", 0.375))

    assert [(arm.share, arm.ranges) for arm in grown.arms[1:]] == [(0.25, ((0.5, 0.75),)), (0.5, ((0.75, 1.0), (0.25, 0.5)))]
    assert shrunk.arms[2] == Arm("challenger", "r-2", 0.375, ((0.75, 1.0), (0.375, 0.5)))
    assert plan(*shrunk.without_arm("r-2")).arms == (Arm("champion", "r-1", 0.75), Arm("challenger_b", "r-3", 0.25, ((0.5, 0.75),)))


def test_a_canary_that_becomes_a_challenger_keeps_its_entities() -> None:
    made = plan(Arm("champion", "r-1", 0.875), Arm("canary", "r-2", 0.125))

    assert made.with_arm("challenger", "r-2", 0.5)[1] == Arm("challenger", "r-2", 0.5, ((0.0, 0.125), (0.625, 1.0)))


def test_shares_that_are_no_binary_fractions_may_fill_the_interval() -> None:
    made = plan(Arm("champion", "r-1", 0.0), Arm("canary", "r-2", 0.1 + 0.2), Arm("challenger", "r-3", 0.7))

    assert plan(*made.without_arm("r-2")).champion.share == pytest.approx(0.3)


@pytest.mark.parametrize(
    "arms, reason",
    [
        ((Arm("challenger", "r-2", 0.25, ((0.0, 0.25),)), Arm("canary", "r-3", 0.25, ((0.2, 0.45),))), "overlap"),
        ((Arm("challenger", "r-2", 0.5, ((0.0, 0.25),)),), "not as long as the share of"),
        ((Arm("challenger", "r-2", 0.25), Arm("challenger", "r-3", 0.25)), "arms are called"),
        ((Arm("control", "r-2", 0.25),), "arms are called"),
    ],
)
def test_arms_that_cannot_be_told_apart_are_refused(arms: tuple[Arm, ...], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        plan(Arm("champion", "r-1", 1.0 - sum(arm.share for arm in arms)), *arms)


def test_an_arm_cannot_have_more_than_there_is() -> None:
    with pytest.raises(DefinitionError, match="cannot have 1.5"):
        plan(Arm("champion", "r-1", 1.0)).with_arm("canary", "r-2", 1.5)


@pytest.mark.parametrize("name", ["", "control", "challenger_", "challenger_B", "canary_2"])
def test_a_name_that_no_arm_can_have_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="no name of one"):
        stage_of(name)
