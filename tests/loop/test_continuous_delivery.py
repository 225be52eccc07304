"""The six situations of docs/continuous-delivery.md, each lived through: a shop whose customers have tastes, on real stores."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from cli.commands import Lazy
from cli.main import offerloop
from contracts.clock import DAY_US
from contracts.errors import BundleRefused, DefinitionError, NeedsOtherCode, StepRefused
from contracts.settings import Settings, Store
from contracts.traffic import TrafficPlan
from decisions.explain import recompute
from decisions.policies import PolicySpec
from features.definitions import Aggregate, FeatureSet, Window
from monitoring.measure import measure
from releases.bundle import BundleParts, read_bundle, write_bundle
from releases.diff import diff
from releases.ledger import Act
from releases.stages import register, reject, start
from serving.live import load_release
from serving.messages import EventMessage, OutcomeMessage
from serving.operations import Desk, live_at, promote, roll_back
from serving.scenarios import play
from serving.service import DecisionService
from storage.drain import drain
from storage.tables import Tables
from tests.training.conftest import SHOP, logged_set
from training.train import Candidate, start_parts, train_on
from use_cases.definition import CanaryStep, Happening, Rollout, Scenario

RED_LOVER = Scenario("red", "Loves red", history=(Happening("customer", DAY_US, {"kind": "r"}), Happening("visit", 9, {})))
BLUE_LOVER = Scenario("blue", "Loves blue", history=(Happening("customer", DAY_US, {"kind": "b"}),))
WATCHED = replace(SHOP, scenarios=(RED_LOVER, BLUE_LOVER), rollout=Rollout((CanaryStep(0.2),)))


class Team:
    """An installation of the shop, and what those who run it do."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(state=str(folder), use_cases=("shop",), store=Store(map_size_bytes=2**26))
        self.service = DecisionService(settings, {"shop": WATCHED})
        self.desk = Desk(self.service.layout, self.service.ledger, {"shop": WATCHED}, self.service.clock)

    def act(self, reason: str) -> Act:
        return Act("ada", self.desk.clock.now_us(), reason)

    def write(self, parts: BundleParts) -> str:
        """Write a release and note it as a candidate."""
        layout = self.desk.layout
        release_id = write_bundle(layout.bundles, parts, layout.secrets)
        register(self.desk.ledger, "shop", release_id, read_bundle(layout.bundles, release_id).digest, self.act("made"))
        return release_id

    def begin(self) -> str:
        """Put the first release before everybody."""
        release_id = self.write(start_parts(WATCHED))
        digest = self.desk.ledger.release(release_id).digest
        start(self.desk.ledger, "shop", release_id, digest, WATCHED.control_share, self.act("the first release"))
        return release_id

    def release(self, parts: BundleParts) -> str:
        """Take a release by way of shadow and canary to champion."""
        release_id = self.write(parts)
        for reason in ("into the shadow", "to a fifth", "to all"):
            promote(self.desk, "shop", release_id, "ada", reason)
        return release_id

    @property
    def plan(self) -> TrafficPlan:
        plan = self.desk.ledger.plan("shop")
        assert plan is not None
        return plan


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    made = Team(tmp_path / "state")
    made.begin()
    with made.service:
        yield made


@pytest.fixture(scope="module")
def learned() -> Candidate:
    """What is learned from a log in which people buy what they love."""
    return train_on(logged_set(use_case=WATCHED), champion="r-start")


def test_1_the_plumbing_stands_before_any_model_does(team: Team) -> None:
    """Data comes in, decisions go out with their probabilities, and everything about them can be computed again."""
    decisions = [team.service.decide("shop", f"c-{number}", decision_id=f"d-{number}") for number in range(40)]
    team.service.accept_outcomes("shop", [OutcomeMessage("o-1", "d-1", 990_000, decisions[1].decided_at + 1)])
    assert {decision.release_id for decision in decisions} == {team.plan.champion.release_id}
    runtime = load_release(team.desk.layout, WATCHED, team.plan.champion.release_id).runtime
    assert all(recompute(decision, runtime).exact for decision in decisions)
    assert team.service.decide("shop", "c-1", decision_id="d-1") == team.service.decision("shop", "d-1")
    assert live_at(team.desk, "shop", team.desk.clock.now_us()).row.reason == "the first release"


def test_2_a_model_is_developed_by_test(team: Team, learned: Candidate) -> None:
    """A wrong definition is told before anything runs, and personas say what the model makes of people."""
    wrong = FeatureSet("shop", (Aggregate(name="visits", source="visits", aggregate="count", window_us=Window.days(7)),))
    with pytest.raises(DefinitionError, match="visit"):
        wrong.check(WATCHED.schema)
    release = load_release(team.desk.layout, WATCHED, team.write(learned.parts))
    now_us = team.desk.clock.now_us()
    loved = {scenario.name: play(release, WATCHED, scenario, now_us).most for scenario in WATCHED.scenarios}
    assert loved == {"red": ("red",), "blue": ("blue",)}


def test_3_it_is_improved_in_steps_that_are_told_apart(team: Team, learned: Candidate) -> None:
    """The same inputs make the same release; another setting makes another one, and the difference has a name."""
    assert team.write(train_on(logged_set(use_case=WATCHED), champion="r-start").parts) == team.write(learned.parts)
    bolder = replace(WATCHED, learned_policy=PolicySpec("epsilon_greedy", 0.3))
    again = train_on(logged_set(use_case=bolder), champion="r-start")
    one, two = (read_bundle(team.desk.layout.bundles, team.write(parts)) for parts in (learned.parts, again.parts))
    changed = {section.name for section in diff(one, two).sections if section.changes}
    assert one.release_id != two.release_id
    assert "policy" in changed
    assert not changed & {"features", "catalogue", "data"}


def test_4_it_is_released_by_itself_only_past_a_test_of_what_it_earns(team: Team, learned: Candidate) -> None:
    """What does not earn more is refused with the reason, and whoever answers goes on answering."""
    assert learned.verdict.step == "champion"
    idle = train_on(logged_set(use_case=WATCHED, lift=0.0), champion="r-start")
    before = team.plan
    failed = [check.reason for check in idle.verdict.checks if check.needed and not check.passed]
    assert any("gain over control" in reason for reason in failed)
    release_id = team.write(idle.parts)
    reject(team.desk.ledger, "shop", release_id, team.act("; ".join(failed)))
    with pytest.raises(StepRefused, match="its gate refused it"):
        promote(team.desk, "shop", release_id, "ada", "to all", at_once=True)
    assert team.plan == before
    released = team.release(learned.parts)
    assert team.plan.champion.release_id == released


def test_5_what_was_changed_is_undone_together(team: Team, learned: Candidate) -> None:
    """Going back takes model, features, catalogue, policy and settings along; going back to other code names that code."""
    first, second = team.plan.champion.release_id, team.release(learned.parts)
    at_second = team.desk.clock.now_us()
    dearer = replace(learned.parts, settings={**learned.parts.settings, "baseline": "red"}, policy={"kind": "greedy"})
    with pytest.raises(BundleRefused, match="other probabilities"):
        team.release(dearer)
    assert roll_back(team.desk, "shop", "ada", "it was a mistake").champion.release_id == first
    team.service.look()
    assert {team.service.decide("shop", f"c-{number}").release_id for number in range(20)} == {first}
    assert roll_back(team.desk, "shop", "ada", "it was none", at_us=at_second).champion.release_id == second
    served = read_bundle(team.desk.layout.bundles, second)
    assert served.digest == live_at(team.desk, "shop", team.desk.clock.now_us()).releases["champion"].digest
    assert set(served.parts.data) and served.parts.policy == learned.parts.policy

    unheard = FeatureSet("old", (Aggregate(name="bets", source="bet", aggregate="count", window_us=Window.days(1)),))
    old = replace(start_parts(replace(WATCHED, feature_set=unheard)), code={"revision": "1" * 40, "image": "shop/offerloop:41"})
    with pytest.raises(NeedsOtherCode, match="Redeploy the image `shop/offerloop:41`"):
        team.release(old)


def test_6_it_is_watched_in_the_wild(team: Team, learned: Candidate) -> None:
    """What each arm earns, and whether features were what the tables say, is measured from what really came."""
    team.release(learned.parts)
    team.service.look()
    now_us = team.desk.clock.now_us()
    kinds = [EventMessage(f"k-{number}", f"c-{number}", "customer", now_us - 1, {"kind": "rb"[number % 2]}) for number in range(60)]
    team.service.accept_events("shop", kinds)
    decisions = [team.service.decide("shop", f"c-{number}") for number in range(60)]
    bought = [one for one in decisions if one.action in ("red", "blue")]
    team.service.accept_outcomes(
        "shop", [OutcomeMessage(f"o-{one.decision_id}", one.decision_id, 2_000_000, one.decided_at + 1) for one in bought]
    )
    drain(team.service.journal, Tables(team.desk.layout.tables), {"shop": WATCHED.schema})
    after_us = team.desk.clock.now_us() + 2 * WATCHED.outcome_window_us
    seen = measure(team.desk.layout, {"shop": WATCHED}, team.desk.ledger, after_us).use_cases["shop"]
    by_arm = {arm.arm: arm for arm in seen.arms}
    assert by_arm["champion"].reward.value > by_arm["control"].reward.value == 0.0
    assert (seen.skew.checked, seen.skew.differing) == (60, 0)
    assert [forecast.release_id for forecast in seen.forecasts] == [team.plan.champion.release_id]


def commands(guide: str) -> list[list[str]]:
    """The words behind `offerloop` in the guide's blocks."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("offerloop ")]


def test_what_the_guide_tells_to_type_is_there(repository: Path) -> None:
    typed = commands((repository / "docs/continuous-delivery.md").read_text())
    assert len(typed) > 10
    for words in typed:
        group: click.Command = offerloop
        with click.Context(group) as context:
            while isinstance(group, Lazy):
                found = group.get_command(context, words[0])
                assert found is not None, words
                group, words = found, words[1:]
            group.make_context(group.name, list(words), parent=context)
