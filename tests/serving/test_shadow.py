import msgspec
import pytest

from contracts.clock import DAY_US
from contracts.metrics import FAILED, SHADOW_SCORED
from contracts.records import ShadowScore
from decisions.policies import PolicySpec
from features.definitions import Aggregate, FeatureSet
from serving.live import Release
from serving.service import DecisionService
from serving.shadow import Offer

from .conftest import FEATURES, Shop, catch_up, parts_of, table_of


def scores(service: DecisionService) -> dict[str, ShadowScore]:
    with service.journal.read() as read:
        found = [msgspec.msgpack.decode(record, type=ShadowScore) for _, stream, record in read.records() if stream == "shadow"]
    return {score.decision_id: score for score in found}


def test_a_release_in_the_shadow_scores_what_another_answers(shop: Shop, service: DecisionService) -> None:
    live = service.decide("shop", "p-1").release_id
    other = FeatureSet(
        "other", (*FEATURES.features[:2], Aggregate(name="offers_3d", source="decision", aggregate="count", window_us=3 * DAY_US))
    )
    shadow = shop.shadow(service, parts_of(PolicySpec("greedy"), "table", table_of(gems=5.0), other))
    catch_up(service)
    decisions = {d.decision_id: d for d in (service.decide("shop", f"p-{number}") for number in range(20))}
    service.close()
    again = DecisionService(shop.settings, service.use_cases)
    found = scores(again)
    again.close()
    assert found.keys() == decisions.keys()
    assert {decision.release_id for decision in decisions.values()} == {live}
    assert {score.release_id for score in found.values()} == {shadow}
    for name, score in found.items():
        assert [c.candidate_id for c in score.candidates] == [c.candidate_id for c in decisions[name].candidates]
        assert {c.candidate_id: c.p_in_arm for c in score.candidates}["gems"] == 1.0
    assert service.metrics.totals(SHADOW_SCORED) == {("shop", shadow): 20}


def test_without_one_nothing_is_scored(service: DecisionService) -> None:
    service.decide("shop", "p-1")
    assert scores(service) == {}


def test_what_a_release_in_the_shadow_cannot_score_costs_it_that_decision_alone(
    shop: Shop, service: DecisionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = shop.shadow(service, parts_of(PolicySpec("greedy"), "table", table_of(gems=5.0)))
    catch_up(service)
    scored = service._shadow._scored

    def fail_at_one(offer: Offer, release: Release) -> ShadowScore:
        if offer.decision.entity_id == "p-1":
            raise ValueError("a model of its own kind")
        return scored(offer, release)

    monkeypatch.setattr(service._shadow, "_scored", fail_at_one)
    decisions = {service.decide("shop", f"p-{number}").decision_id: f"p-{number}" for number in range(4)}
    service.close()
    with DecisionService(shop.settings, service.use_cases) as again:
        assert {decisions[name] for name in scores(again)} == {"p-0", "p-2", "p-3"}
    assert service.metrics.totals(FAILED) == {("shop", "shadow", shadow): 1}
