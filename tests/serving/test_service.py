import dataclasses
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from contracts.catalogue import NO_ACTION, Catalogue, Limit
from contracts.clock import DAY_US, HOUR_US
from contracts.errors import Conflict, InvalidInput, NotFound, NotReady, StaleFeatures, StoreUnavailable
from contracts.metrics import ACTIONS, DECISIONS, DEGRADED, FAILED, FEATURE_AGE_SECONDS, NOT_AS_DECLARED
from contracts.records import Decision
from contracts.settings import Store
from contracts.traffic import CHAMPION, CONTROL
from decisions.policies import PolicySpec
from features.compaction import size
from features.definitions import Attribute, Fallback, FeatureSet
from serving.deciding import DAMAGED
from serving.messages import EventMessage, OutcomeMessage
from serving.problems import problem_of
from serving.service import DecisionService
from storage.drain import drain
from storage.health import Health, read_health
from storage.horizon import forget_ids

from .conftest import CATALOGUE, FEATURES, SHOP, Shop, parts_of, table_of


def purchase(number: int, entity_id: str = "p-1", amount: int = 5) -> EventMessage:
    return EventMessage(f"e-{number}", entity_id, "purchase", 1_000, {"amount_micros": amount, "product": "gems"})


def profile(entity_id: str, event_time: int | str) -> EventMessage:
    return EventMessage(f"profile-{entity_id}", entity_id, "profile", event_time, {"country": "FR"})


def of_feature(decision: Decision, name: str) -> float:
    return decision.features[SHOP.feature_set.names.index(name)]


def test_a_decision_says_what_it_was_made_from(service: DecisionService) -> None:
    decision = service.decide("shop", "p-1", {"cart": 3})
    assert decision.decision_id.startswith("d-")
    assert abs(sum(candidate.p_in_arm for candidate in decision.candidates) - 1.0) < 1e-12
    assert decision.propensity == {c.candidate_id: c.p_in_arm for c in decision.candidates}[decision.action]
    assert of_feature(decision, "cart") == 3.0
    assert set(decision.missing) == {"purchases_7d", "spend_7d", "offers_1d", "country"}
    assert decision.expires_at == decision.decided_at + SHOP.ttl_us
    assert decision.seq == 1


def test_the_same_id_gets_the_same_answer(service: DecisionService) -> None:
    first = service.decide("shop", "p-1", {"cart": 3}, "d-1")
    service.accept_events("shop", [purchase(1)])
    assert service.decide("shop", "p-1", {"cart": 3}, "d-1") == first
    assert service.decision("shop", "d-1") == first
    assert sum(service.metrics.totals(DECISIONS).values()) == 1


@pytest.mark.parametrize("entity, context", [("p-2", {"cart": 3}), ("p-1", {"cart": 4}), ("p-1", {})])
def test_the_same_id_for_another_question_is_a_conflict(service: DecisionService, entity: str, context: dict[str, int]) -> None:
    service.decide("shop", "p-1", {"cart": 3}, "d-1")
    with pytest.raises(Conflict):
        service.decide("shop", entity, context, "d-1")


def test_one_id_at_once_from_two_replicas_gets_one_answer(shop: Shop, service: DecisionService, repository: Path) -> None:
    ids = [f"d-{number}" for number in range(300)]
    command = [sys.executable, "-m", "tests.serving.second_replica", str(shop.layout.root)]
    with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n".join(ids))
        other.stdin.close()
        here = [repr(future.result().draw) for future in [service.submit("shop", "p-1", {}, name) for name in ids]]
        assert other.stdout.read().split() == here


def test_an_event_is_in_the_next_decision(service: DecisionService) -> None:
    assert NO_ACTION in {c.candidate_id for c in service.decide("shop", "p-1").candidates}
    service.accept_events("shop", [purchase(1), purchase(2, amount=7)])
    now = service.clock.now_us()
    service.accept_events("shop", [EventMessage("e-3", "p-1", "purchase", now, {"amount_micros": 11, "product": "x"})])
    decision = service.decide("shop", "p-1")
    assert (of_feature(decision, "purchases_7d"), of_feature(decision, "spend_7d")) == (1.0, 11.0)
    assert of_feature(decision, "offers_1d") == 1.0
    assert "boost" in {c.candidate_id for c in decision.candidates}
    assert decision.seen_seq == 4


def test_a_feature_that_is_too_old_is_replaced_and_said(service: DecisionService) -> None:
    service.accept_events("shop", [profile("p-1", 1_000), profile("p-2", service.clock.now_us())])
    stale, fresh = service.decide("shop", "p-1"), service.decide("shop", "p-2")
    assert (of_feature(stale, "country"), stale.degraded) == (-1.0, ("stale:country",))
    assert (of_feature(fresh, "country"), fresh.degraded) == (1.0, ())
    assert service.metrics.totals(DEGRADED) == {("shop", "stale"): 1}
    assert service.metrics.totals(FEATURE_AGE_SECONDS) == {("shop",): 2}


def test_control_gets_the_baseline_and_the_others_the_policy(service: DecisionService) -> None:
    decisions = [service.submit("shop", f"p-{number}", {}) for number in range(200)]
    arms = Counter((future.result().arm, future.result().action) for future in decisions)
    assert {arm for arm, _ in arms} == {CONTROL, CHAMPION}
    assert {action for arm, action in arms if arm == CONTROL} == {NO_ACTION}
    assert {action for arm, action in arms if arm == CHAMPION} == {NO_ACTION, "gems", "rare"}
    assert sum(service.metrics.totals(ACTIONS).values()) == 200


def test_an_arm_is_sticky(service: DecisionService) -> None:
    for number in range(30):
        assert len({service.decide("shop", f"p-{number}").arm for _ in range(3)}) == 1


def test_what_was_shown_cools_down(shop: Shop, service: DecisionService) -> None:
    shop.promote(service, parts_of(PolicySpec("greedy"), "table", table_of(rare=9.0, gems=5.0)))
    service.look()
    entity = next(f"p-{number}" for number in range(100) if service.decide("shop", f"p-{number}").action == "rare")
    again = service.decide("shop", entity)
    assert again.action == "gems"
    assert "rare" not in {candidate.candidate_id for candidate in again.candidates}


def test_a_group_is_shown_no_more_often_than_its_limit_allows(shop: Shop, service: DecisionService) -> None:
    parts = parts_of(PolicySpec("greedy"), "table", table_of(rare=9.0, gems=5.0))
    gems = Limit(2, HOUR_US, "gems")
    limited = tuple(
        msgspec.structs.replace(candidate, cooldown_us=0, groups=("gems",), limits=(gems,))
        if candidate.attributes["kind"] == "gems"
        else candidate
        for candidate in CATALOGUE.candidates
    )
    shop.promote(service, dataclasses.replace(parts, catalogue=Catalogue(limited)))
    service.look()
    entity = next(f"p-{number}" for number in range(100) if service.decide("shop", f"p-{number}").action == "rare")

    assert [service.decide("shop", entity).action for _ in range(3)] == ["rare", NO_ACTION, NO_ACTION]


def test_a_damaged_state_is_answered_from_defaults_and_said(service: DecisionService) -> None:
    service.accept_events("shop", [purchase(1)])
    service.journal.write(lambda write: write.put_state("shop", "p-1", b"\xffnot a state"))
    decision = service.decide("shop", "p-1")
    assert decision.degraded == (DAMAGED,)
    assert service.decide("shop", "p-1").degraded == ()


def test_a_damaged_state_is_made_anew_and_its_seq_goes_on(service: DecisionService) -> None:
    bought = [msgspec.structs.replace(purchase(number), event_time=service.clock.now_us()) for number in range(8)]
    service.accept_events("shop", bought[:5])
    drain(service.journal, service.tables, {"shop": SHOP.schema})
    service.accept_events("shop", bought[5:6])
    with service.journal.read() as read:
        state = read.get_state("shop", "p-1")
    assert state is not None
    for event, broken in zip(bought[6:], (b"\xffnot a state", state[:-1] + bytes([state[-1] ^ 1])), strict=True):
        service.journal.write(lambda write, broken=broken: write.put_state("shop", "p-1", broken))  # type: ignore[misc]
        service.accept_events("shop", [event])
    decision = service.decide("shop", "p-1")
    assert (decision.seen_seq, decision.degraded) == (8, ())
    assert (of_feature(decision, "purchases_7d"), of_feature(decision, "spend_7d")) == (8.0, 40.0)


def test_states_are_compacted_and_made_anew_while_answers_go_on(service: DecisionService) -> None:
    now = service.clock.now_us()
    old = [msgspec.structs.replace(purchase(number), event_time=now - 20 * DAY_US) for number in range(40)]
    service.accept_events("shop", old)
    before = service.decide("shop", "p-1")
    large = size(service.journal, "shop", "p-1")
    assert (service.compact("shop").entities, service.rebuild("shop").entities) == (1, 1)
    assert size(service.journal, "shop", "p-1") <= large
    after = service.decide("shop", "p-1")
    assert (after.features[:2], after.seen_seq) == (before.features[:2], before.seq)
    with pytest.raises(NotFound):
        service.rebuild("nothing")


def test_a_forgotten_decision_takes_no_outcome(service: DecisionService) -> None:
    decision = service.decide("shop", "p-1", {}, "d-1")
    sent = OutcomeMessage("o-1", "d-1", 5)
    assert service.accept_outcomes("shop", [sent]).accepted == 1
    ahead = {(kind, "shop"): decision.decided_at + 1 for kind in ("decision", "outcome")}
    assert forget_ids(service.journal, ahead) == 2
    assert "so long ago that it is forgotten" in service.accept_outcomes("shop", [sent]).quarantined[0].reason


def test_a_stale_feature_that_refuses_is_answered_with_no_decision(shop: Shop, service: DecisionService) -> None:
    def falling_back(fallback: Fallback) -> FeatureSet:
        country = FEATURES.features[3]
        assert isinstance(country, Attribute)
        return FeatureSet("shop", (*FEATURES.features[:3], msgspec.structs.replace(country, fallback=fallback), FEATURES.features[4]))

    now = service.clock.now_us()
    service.accept_events("shop", [profile("p-old", now - 40 * DAY_US), profile("p-new", now)])
    shop.promote(service, parts_of(PolicySpec("uniform"), features=falling_back("refuse")))
    service.look()
    with pytest.raises(StaleFeatures, match=r"p-old.*country older than `max_age`"):
        service.decide("shop", "p-old", {}, "d-1")
    with pytest.raises(NotFound):
        service.decision("shop", "d-1")
    assert problem_of(StaleFeatures("p-old", ["country"]), "r-1").status == 503
    assert service.decide("shop", "p-new", {}, "d-2").degraded == service.decide("shop", "p-none").degraded == ()
    shop.promote(service, parts_of(PolicySpec("uniform"), features=falling_back("last")))
    service.look()
    kept = service.decide("shop", "p-old", {}, "d-1")
    assert (of_feature(kept, "country"), kept.degraded) == (1.0, ("stale:country",))


def test_what_cannot_be_decided_is_said(shop: Shop, service: DecisionService) -> None:
    with pytest.raises(NotFound, match="nothing"):
        service.decide("nothing", "p-1")
    with pytest.raises(NotFound, match="d-9"):
        service.decision("shop", "d-9")
    with pytest.raises(InvalidInput, match="context"):
        service.decide("shop", "p-1", {"n" * 65: 1})


def test_without_a_release_nothing_is_decided_but_events_are_taken(shop: Shop) -> None:
    with DecisionService(shop.settings, {"shop": SHOP}) as service:
        assert not service.ready()
        assert not service.status().use_cases[0].ready
        with pytest.raises(NotReady, match="no release"):
            service.decide("shop", "p-1")
        assert service.accept_events("shop", [purchase(1)]).accepted == 1


def test_all_of_it_is_there_after_a_new_start(shop: Shop, service: DecisionService) -> None:
    first = service.decide("shop", "p-1", {}, "d-1")
    service.close()
    with DecisionService(shop.settings, {"shop": SHOP}) as again:
        assert again.decide("shop", "p-1", {}, "d-1") == first
        assert of_feature(again.decide("shop", "p-1"), "offers_1d") == 1.0


def test_content_is_that_of_the_release_that_decided_even_when_it_serves_no_more(shop: Shop, service: DecisionService) -> None:
    entity = "p-1"
    asked = next(
        d for number in range(100) if (d := service.decide("shop", entity, {}, f"d-{number}")).action == "gems" or d.arm == CONTROL
    )
    shop.promote(service, parts_of(PolicySpec("uniform"), "table", table_of()))
    service.look()
    expected = {"text": "Gems!"} if asked.action == "gems" else {}
    assert service.answer(asked).content == expected
    shutil.rmtree(shop.layout.bundles / asked.release_id)
    assert service.answer(asked).content == expected


def test_a_full_store_refuses_and_keeps_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    small = Shop(tmp_path_factory.mktemp("small"))
    small.settings = msgspec.structs.replace(small.settings, store=Store(map_size_bytes=2**18))
    with DecisionService(small.settings, {"shop": SHOP}) as service:
        small.begin(service)
        service.look()
        with pytest.raises(StoreUnavailable, match="Nothing was kept"):
            for number in range(2_000):
                service.decide("shop", f"p-{number}", {}, f"d-{number}")
        with pytest.raises(NotFound):
            service.decision("shop", f"d-{number}")


def test_answers_tell_what_a_client_needs(service: DecisionService) -> None:
    decision = service.decide("shop", "p-1", {}, "d-1")
    answer = service.answer(decision)
    assert (answer.decision_id, answer.action, answer.propensity, answer.arm) == ("d-1", decision.action, decision.propensity, decision.arm)
    status = service.status().use_cases[0]
    assert (status.plan_version, status.control_share, [arm.share for arm in status.arms]) == (1, 0.2, [1.0])


def test_the_health_of_each_release_is_counted_by_plan(shop: Shop, service: DecisionService) -> None:
    country = FEATURES.features[3]
    assert isinstance(country, Attribute)
    refusing = FeatureSet("shop", (*FEATURES.features[:3], msgspec.structs.replace(country, fallback="refuse"), FEATURES.features[4]))
    now = service.clock.now_us()
    service.accept_events("shop", [profile("p-old", now - 40 * DAY_US)])
    version = service.status().use_cases[0].plan_version
    for _ in range(3):
        service.decide("shop", "p-1", {}, "d-1")
    service.decide("shop", "p-old")
    canary = shop.promote(service, parts_of(PolicySpec("uniform"), features=refusing))
    service.look()
    with pytest.raises(StaleFeatures):
        service.decide("shop", "p-old")
    with pytest.raises(InvalidInput):
        service.decide("shop", "p-old", {"n" * 65: 1})
    service.health.publish(at_once=True)

    assert service.metrics.totals(FAILED) == {("shop", CHAMPION, canary): 1}
    assert list(service.metrics.totals(NOT_AS_DECLARED).values()) == [1]
    all_of_it = read_health(service.layout, "shop")
    before = sum((health for (_, release), health in all_of_it.items() if release != canary), Health())
    after = all_of_it[CHAMPION, canary]
    assert [(health.decided, health.failed, health.degraded) for health in (before, after)] == [(2, 0, 1), (0, 1, 0)]
    assert sum(sum(health.seconds) for health in all_of_it.values()) == 2
    assert set(read_health(service.layout, "shop", version + 1)) == {(CHAMPION, canary)}
