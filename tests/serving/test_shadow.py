import msgspec

from contracts.clock import DAY_US
from contracts.metrics import SHADOW_SCORED
from contracts.records import ShadowScore
from decisions.policies import PolicySpec
from features.definitions import Aggregate, FeatureSet
from serving.service import DecisionService

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
