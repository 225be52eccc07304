"""The guard of roll-outs over a real ledger and inbox, with health as replicas write it."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.clock import DAY_US, HOUR_US, Clock
from contracts.errors import StoreUnavailable
from contracts.traffic import CANARY, CHAMPION, Arm, TrafficPlan
from flows.guard import NOT_TAKEN_S, Guard
from releases.inbox import Inbox
from releases.ledger import Act, Ledger, ReleaseRow
from releases.stages import register, reject, start, to_challenger, to_champion, to_shadow, withhold
from serving.operations import Desk
from storage.health import HealthCounter
from storage.layout import Layout
from storage.rollouts import read_rollouts
from use_cases.definition import CanaryStep, Rollout, UseCase, load

SHOP = "email_promotion"
STEPS = (CanaryStep(0.05, at_least_us=HOUR_US, decisions=100), CanaryStep(0.25, at_least_us=DAY_US, decisions=100))
BEGAN_US = 10**15


class Installation:
    """A champion and a canary at 5 %, and a clock that stands where it is put."""

    def __init__(self, folder: Path, rollout: Rollout) -> None:
        self.layout = Layout(folder)
        self.ledger, self.inbox = Ledger(self.layout.ledger), Inbox(self.layout.ledger)
        self.use_case: UseCase = replace(load(SHOP), rollout=rollout)
        self.use_cases: dict[str, UseCase] = {}
        for name in ("r-1", "r-2", "r-3"):
            register(self.ledger, SHOP, name, f"{name}-digest", self.act)
        start(self.ledger, SHOP, "r-1", "r-1-digest", 0.1, self.act)
        self.at(0)

    @property
    def act(self) -> Act:
        return Act("test", BEGAN_US, "because")

    def at(self, after_us: int, not_taken_s: float = NOT_TAKEN_S) -> None:
        """Let it be so long after the beginning."""
        clock = Clock(origin_us=BEGAN_US + after_us, started_us=0, scale=0)
        use_cases = self.use_cases or {SHOP: self.use_case}
        self.guard = Guard(Desk(self.layout, self.ledger, use_cases, clock), self.inbox, not_taken_s)

    def canary(self, release_id: str = "r-2", share: float = 0.05) -> None:
        if self.ledger.stage_of(release_id) != "canary":
            to_shadow(self.ledger, SHOP, release_id, replace(self.act, details={"promote": "champion"}))
        to_challenger(self.ledger, SHOP, release_id, share, self.act, CANARY)

    def answered(self, ours: int, theirs: int, *, failed: int = 0, degraded: int = 0, slow: int = 0) -> None:
        """Let a replica count what the canary and the champion did under the plan in force; `slow` of the canary's took a second."""
        plan = self.ledger.plan(SHOP)
        assert plan is not None
        counter = HealthCounter(self.layout)
        for arm, release_id, asked, lost, worse, late in (
            (CANARY, "r-2", ours, failed, degraded, slow),
            (CHAMPION, "r-1", theirs, 0, 0, 0),
        ):
            for number in range(asked):
                counter.decided((SHOP, plan.version, arm, release_id), 1.0 if number < late else 0.003, degraded=number < worse)
            for _ in range(lost):
                counter.failed((SHOP, plan.version, arm, release_id))
        counter.publish()

    def asked(self) -> list[Mapping[str, str]]:
        """What the inbox holds."""
        return [row.payload for row in reversed(self.inbox.rows()) if row.name == "rollout"]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, Rollout(STEPS))
    yield made
    made.inbox.close()
    made.ledger.close()


def test_without_a_canary_nothing_happens(shop: Installation) -> None:
    assert shop.guard.look() == []
    assert (shop.asked(), read_rollouts(shop.layout)[SHOP].canary) == ([], None)


@pytest.mark.parametrize(
    ("failed", "degraded", "slow", "said"),
    [
        (20, 0, 0, "failed 17% of its decisions"),
        (0, 40, 0, "degraded 40% of its decisions, the champion 0%"),
        (0, 0, 20, "took 1.02e+03 ms for the slowest hundredth of its decisions, the champion 3.36 ms"),
    ],
)
def test_a_canary_that_breaks_a_limit_is_stopped_with_its_figures(
    shop: Installation, failed: int, degraded: int, slow: int, said: str
) -> None:
    shop.canary()
    shop.answered(100, 1_000, failed=failed, degraded=degraded, slow=slow)

    (done,) = shop.guard.look()

    assert done.startswith(f"{SHOP}: r-2 stopped as canary at 5%: ") and said in done
    plan, row = shop.ledger.plan(SHOP), shop.ledger.rows(SHOP, limit=1)[0]
    assert plan is not None and [arm.release_id for arm in plan.arms] == ["r-1"]
    assert (shop.ledger.stage_of("r-2"), shop.ledger.stage_of("r-1")) == ("refused", "champion")
    assert (row.actor, row.action, row.release_id) == ("flow guard", "refused", "r-2") and said in row.reason
    assert row.details["canary"] == {"decided": 100, "failed": failed, "degraded": degraded} | {
        "slowest_hundredth_s": row.details["canary"]["slowest_hundredth_s"]
    }
    (broken,) = [name for name, limit in row.details["limits"].items() if limit["broken"]]
    assert row.details["limits"][broken]["surely"] > row.details["limits"][broken]["most"]
    # the flow lets the registry follow, once
    assert shop.guard.look() == [] and shop.asked() == [{"use_case": SHOP, "release_id": "r-2"}]


def test_a_few_failures_of_few_stop_nothing(shop: Installation) -> None:
    shop.canary()
    shop.answered(60, 1_000, failed=1, degraded=2, slow=1)
    assert shop.guard.look() == [] and shop.ledger.stage_of("r-2") == "canary"


def test_what_came_before_the_step_does_not_count(shop: Installation) -> None:
    shop.canary()
    shop.answered(40, 1_000, failed=9)
    assert shop.guard.look() == []
    shop.canary(share=0.25)
    shop.answered(200, 1_000)
    assert shop.guard.look() == [] and shop.ledger.stage_of("r-2") == "canary"


def test_what_came_before_another_change_of_plan_counts_on(shop: Installation) -> None:
    shop.canary()
    shop.answered(40, 1_000, failed=9)
    withhold(shop.ledger, SHOP, ["mens"], shop.act)
    shop.answered(40, 1_000, failed=9)
    assert "failed 18% of its decisions" in shop.guard.look()[0]


def test_a_canary_whose_bundle_a_replica_refuses_is_stopped(shop: Installation) -> None:
    shop.ledger.append(SHOP, Act("serving", BEGAN_US, "an old complaint"), "refuse", "r-2")
    shop.canary()
    assert shop.guard.look() == []
    shop.ledger.append(SHOP, Act("serving", BEGAN_US, "model.txt is not what it was"), "refuse", "r-2")
    assert "a replica cannot serve it: model.txt is not what it was" in shop.guard.look()[0]
    assert shop.ledger.stage_of("r-2") == "refused"


def test_a_canary_that_was_refused_before_its_step_is_stopped_where_decisions_go_on_without_it(shop: Installation) -> None:
    to_shadow(shop.ledger, SHOP, "r-2", replace(shop.act, details={"promote": "champion"}))
    shop.ledger.append(SHOP, Act("serving", BEGAN_US, "model.txt is not what it was"), "refuse", "r-2")
    shop.at(0, not_taken_s=0.0)
    before = shop.ledger.plan(SHOP)
    assert before is not None
    shop.canary()
    # nobody asks for decisions, so nothing is known of the replicas
    assert shop.guard.look() == [] and shop.guard.look() == []
    # they go on with the plan before
    counter = HealthCounter(shop.layout)
    counter.decided((SHOP, before.version, CHAMPION, "r-1"), 0.003, degraded=False)
    counter.publish()
    assert "a replica cannot serve it: model.txt is not what it was" in shop.guard.look()[0]
    assert shop.ledger.stage_of("r-2") == "refused"


def test_a_canary_that_was_refused_once_and_taken_since_goes_on(shop: Installation) -> None:
    shop.ledger.append(SHOP, Act("serving", BEGAN_US, "its file was away"), "refuse", "r-2")
    shop.at(0, not_taken_s=0.0)
    shop.canary()
    assert shop.guard.look() == []
    shop.answered(0, 3)
    assert shop.guard.look() == [] and shop.ledger.stage_of("r-2") == "canary"


def test_what_fails_for_one_use_case_keeps_the_guard_from_no_other(shop: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    game = "game_promotion"
    # a plan that names a release which the ledger does not know
    ghost = TrafficPlan(game, 1, 0.1, (Arm(CHAMPION, "r-0", 0.9), Arm(CANARY, "r-ghost", 0.1)), salt="s", control_salt="c")
    shop.ledger.set_plan(ghost, Act("test", BEGAN_US, "forged"), "start")
    shop.use_cases = {game: load(game), SHOP: shop.use_case}
    shop.at(0)
    shop.canary()
    shop.answered(100, 1_000, failed=20)

    failed, stopped = shop.guard.look()

    assert failed.startswith(f"{game}: LOOKING AT IT FAILED") and "r-ghost" in failed
    assert "Traceback" in capsys.readouterr().err
    assert stopped.startswith(f"{SHOP}: r-2 stopped as canary at 5%: ")
    assert set(read_rollouts(shop.layout)) == {SHOP}


def test_a_step_is_asked_for_once_its_time_and_its_decisions_have_come(shop: Installation) -> None:
    shop.canary()
    shop.answered(100, 1_000)
    shop.at(HOUR_US - 1)
    assert shop.guard.look() == []
    shop.at(HOUR_US)
    assert shop.guard.look() == [f"{SHOP}: the next step of r-2 may come"]
    assert shop.guard.look() == []
    shop.at(HOUR_US + 1)
    shop.guard.look()
    assert shop.asked() == [{"use_case": SHOP, "release_id": "r-2"}]
    seen = read_rollouts(shop.layout)[SHOP].canary
    assert seen is not None and (seen.step, seen.steps, seen.decisions, seen.needed) == (1, 2, 100, 100)
    # as long as it waits for evidence it is asked for again, each time its least time has passed
    shop.at(2 * HOUR_US)
    shop.guard.look()
    assert len(shop.asked()) == 2


def test_time_alone_is_not_enough(shop: Installation) -> None:
    shop.canary()
    shop.answered(99, 1_000)
    shop.at(30 * DAY_US)
    assert (shop.guard.look(), shop.asked()) == ([], [])


def test_a_share_that_no_step_has_is_watched_and_left_alone(shop: Installation) -> None:
    shop.canary(share=0.1)
    shop.answered(500, 1_000)
    shop.at(30 * DAY_US)
    assert (shop.guard.look(), shop.asked()) == ([], [])
    shop.answered(100, 1_000, failed=60)
    assert "failed" in shop.guard.look()[0]


def test_a_release_that_waited_is_asked_for_again_when_the_other_is_gone(shop: Installation) -> None:
    shop.canary()
    to_shadow(shop.ledger, SHOP, "r-3", replace(shop.act, details={"promote": "champion"}))
    assert shop.guard.look() == []
    shop.answered(100, 1_000, failed=50)
    shop.guard.look()
    assert shop.guard.look() == [f"{SHOP}: the next step of r-3 may come"]
    assert shop.guard.look() == []
    assert [row["release_id"] for row in shop.asked()] == ["r-2", "r-3"]


class Busy(Ledger):
    """A ledger that somebody else may keep locked."""

    locked = False

    def release(self, release_id: str) -> ReleaseRow:
        """Where a release stands, if the file can be read."""
        if self.locked:
            raise StoreUnavailable("ledger", "database is locked")
        return super().release(release_id)


def test_a_release_that_waited_is_asked_for_also_when_the_ledger_was_locked_at_first(shop: Installation) -> None:
    shop.canary()
    to_shadow(shop.ledger, SHOP, "r-3", replace(shop.act, details={"promote": "champion"}))
    reject(shop.ledger, SHOP, "r-2", shop.act)
    with closing(Busy(shop.layout.ledger)) as busy:
        shop.guard.desk = replace(shop.guard.desk, ledger=busy)
        busy.locked = True
        with pytest.raises(StoreUnavailable):
            shop.guard.look()
        busy.locked = False
        assert shop.guard.look() == [f"{SHOP}: the next step of r-3 may come"]


def test_a_release_that_waited_is_not_asked_for_when_its_gate_knew_another_champion(shop: Installation) -> None:
    shop.canary()
    to_shadow(shop.ledger, SHOP, "r-3", replace(shop.act, details={"promote": "champion", "compared_with": "r-0"}))
    reject(shop.ledger, SHOP, "r-2", shop.act)
    assert shop.guard.look() == [] and shop.asked() == []


@pytest.mark.parametrize("promised", ["shadow", "champion"])
def test_who_stays_in_the_shadow_or_was_proven_against_another_is_not_asked_for(shop: Installation, promised: str) -> None:
    shop.canary()
    to_shadow(shop.ledger, SHOP, "r-3", replace(shop.act, details={"promote": promised}))
    if promised == "champion":
        to_champion(shop.ledger, SHOP, "r-2", shop.act)
    else:
        to_challenger(shop.ledger, SHOP, "r-2", 0.1, shop.act, CANARY)
        shop.answered(100, 1_000, failed=50)
        shop.guard.look()
    shop.guard.look()
    assert "r-3" not in [row["release_id"] for row in shop.asked()]


def test_releases_that_wait_for_a_sign_off_are_shown(shop: Installation) -> None:
    shop.use_case = replace(shop.use_case, approvers=("anna",))
    to_shadow(shop.ledger, SHOP, "r-2", shop.act)
    shop.at(0)
    shop.guard.look()
    assert read_rollouts(shop.layout)[SHOP].waiting == ("r-2",)
