import errno
import shutil
from dataclasses import replace
from typing import Any

import msgspec
import polars as pl
import pytest

from contracts.clock import DAY_US
from contracts.errors import BundleRefused
from contracts.metrics import RELEASES_REFUSED, REPLICA_PLAN_VERSION
from contracts.traffic import Arm, TrafficPlan
from decisions.policies import PolicySpec
from features.definitions import Aggregate, FeatureSet
from releases.bundle import BundleParts
from releases.golden import GOLDEN_SCHEMA
from releases.ledger import Act
from releases.stages import rollback, to_champion, withhold
from serving.catching_up import WAITING
from serving.live import load_release
from serving.messages import EventMessage
from serving.service import DecisionService
from storage.drain import drain

from .conftest import AT, FEATURES, SHOP, Shop, catch_up, parts_of, table_of

BEST = parts_of(PolicySpec("greedy"), "table", table_of(gems=5.0))
ACT = Act("test", AT, "because")


def champion(service: DecisionService) -> str:
    return service.status().use_cases[0].arms[0].release_id


def with_golden(rows: list[dict[str, Any]]) -> BundleParts:
    return replace(BEST, golden=pl.DataFrame(rows, schema=dict(GOLDEN_SCHEMA)))


def break_bundle(shop: Shop, release_id: str) -> None:
    path = shop.layout.bundles / release_id / "table.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"5", b"6"))


def test_a_new_plan_is_followed_and_a_rollback_too(shop: Shop, service: DecisionService) -> None:
    first = champion(service)
    second = shop.promote(service, BEST)
    service.look()
    assert champion(service) == second
    assert {service.decide("shop", f"p-{number}").release_id for number in range(10)} == {second}
    rollback(service.ledger, "shop", ACT)
    service.look()
    assert champion(service) == first
    assert service.metrics.totals(REPLICA_PLAN_VERSION)[("shop",)] == service.status().use_cases[0].plan_version


def test_the_thread_follows_by_itself(shop: Shop, service: DecisionService) -> None:
    second = shop.promote(service, BEST)
    stop = service.clock.now_us() + 30_000_000
    while champion(service) != second and service.clock.now_us() < stop:
        service.decide("shop", "p-1")
    assert champion(service) == second


def test_a_bad_bundle_is_refused_once_in_the_ledger_and_the_old_one_serves(shop: Shop, service: DecisionService) -> None:
    first = champion(service)
    bad = shop.register(service, BEST)
    break_bundle(shop, bad)
    plan = service.ledger.plan("shop")
    assert plan is not None
    service.ledger.set_plan(msgspec.structs.replace(plan, version=plan.version + 1, arms=(Arm("champion", bad, 1.0),)), ACT, "promote", bad)
    for _ in range(3):
        service.look()
    assert champion(service) == first
    assert service.decide("shop", "p-1").release_id == first
    assert "digest" in service.status().use_cases[0].refused[bad]
    assert [(row.action, row.release_id) for row in service.ledger.rows("shop") if row.actor == "serving"] == [("refuse", bad)]
    assert service.metrics.totals(RELEASES_REFUSED) == {("shop",): 1}


def test_a_replica_that_starts_with_a_bad_plan_serves_the_newest_good_one(shop: Shop, service: DecisionService) -> None:
    first = champion(service)
    bad = shop.promote(service, BEST)
    service.close()
    break_bundle(shop, bad)
    with DecisionService(shop.settings, {"shop": SHOP}) as started:
        assert champion(started) == first
        assert started.ready()
        assert list(started.status().use_cases[0].refused) == [bad]


def test_what_is_withheld_is_so_although_a_release_of_the_plan_is_bad(shop: Shop, service: DecisionService) -> None:
    first = champion(service)
    bad = shop.promote(service, BEST)
    break_bundle(shop, bad)
    withhold(service.ledger, "shop", ["gems"], ACT)
    service.look()
    assert champion(service) == first
    assert "gems" not in [one.candidate_id for one in service.decide("shop", "p-1").candidates]


def test_a_disk_that_cannot_be_read_is_a_refusal(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    release_id = shop.write(BEST)

    def broken(folder: int) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("releases.bundle.os.listdir", broken)
    with pytest.raises(BundleRefused, match="cannot be read"):
        load_release(shop.layout, SHOP, release_id)


def test_what_is_unforeseen_does_not_end_the_watching(
    shop: Shop, service: DecisionService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan_of = service.ledger.plan

    def odd(use_case: str) -> TrafficPlan | None:
        raise RuntimeError("odd")

    monkeypatch.setattr(service.ledger, "plan", odd)
    service.look()
    assert "following the plan of shop failed" in caplog.text
    monkeypatch.setattr(service.ledger, "plan", plan_of)
    second = shop.promote(service, BEST)
    service.look()
    assert champion(service) == second


def test_a_bad_shadow_is_left_out_and_the_plan_followed(shop: Shop, service: DecisionService) -> None:
    bad = shop.shadow(service, BEST)
    break_bundle(shop, bad)
    service.look()
    status = service.status().use_cases[0]
    assert (status.plan_version, status.shadow, list(status.refused)) == (2, None, [bad])
    assert service.decide("shop", "p-1").arm


def test_golden_decisions_that_come_out_otherwise_are_refused(shop: Shop) -> None:
    golden = BEST.golden.to_dicts()
    golden[2]["scores"][1] += 1e-12
    changed = shop.write(with_golden(golden))
    with pytest.raises(BundleRefused, match=r"golden decision 2: gems is scored 5\.0, in training 5\.000000000001"):
        load_release(shop.layout, SHOP, changed)


def test_golden_probabilities_that_come_out_otherwise_are_refused(shop: Shop) -> None:
    golden = BEST.golden.to_dicts()
    golden[0]["p_in_arm"] = [1.0, 0.0, 0.0]
    with pytest.raises(BundleRefused, match="other probabilities"):
        load_release(shop.layout, SHOP, shop.write(with_golden(golden)))


def test_a_bundle_of_another_feature_schema_is_refused(shop: Shop) -> None:
    unknown = FeatureSet("other", (*FEATURES.features, Aggregate(name="x", source="unheard", aggregate="count", window_us=DAY_US)))
    with pytest.raises(BundleRefused, match="unheard"):
        load_release(shop.layout, SHOP, shop.write(parts_of(PolicySpec("uniform"), features=unknown)))


def test_a_bundle_that_is_not_there_is_refused(shop: Shop) -> None:
    with pytest.raises(BundleRefused, match="no such folder"):
        load_release(shop.layout, SHOP, "r-0123456789abcdef")


def test_longer_windows_of_a_release_are_kept_from_its_first_day(shop: Shop, service: DecisionService) -> None:
    longer = FeatureSet(
        "longer", (*FEATURES.features, Aggregate(name="purchases_90d", source="purchase", aggregate="count", window_us=90 * DAY_US))
    )
    shop.promote(service, parts_of(PolicySpec("uniform"), features=longer))
    service.look()
    now = service.clock.now_us()
    for number, days in enumerate((60, 40, 20)):
        event = EventMessage(f"e-{number}", "p-1", "purchase", now - days * DAY_US, {"amount_micros": 1, "product": "x"})
        service.accept_events("shop", [event])
    decision = service.decide("shop", "p-1")
    assert decision.features[longer.names.index("purchases_90d")] == 3.0


def longer_by(days: int) -> FeatureSet:
    counted = Aggregate(name=f"purchases_{days}d", source="purchase", aggregate="count", window_us=days * DAY_US)
    return FeatureSet("longer", (*FEATURES.features, counted))


def test_a_release_with_longer_windows_waits_until_its_features_are_made(shop: Shop, service: DecisionService) -> None:
    """What was forgotten, since no window needed it, comes back from the tables, and what is in the journal only, from there."""
    now = service.clock.now_us()
    bought = [
        EventMessage(f"e-{days}", "p-1", "purchase", now - days * DAY_US, {"amount_micros": days, "product": "x"}) for days in range(80)
    ]
    service.accept_events("shop", bought[:40])
    drain(service.journal, service.tables, {"shop": SHOP.schema})
    service.accept_events("shop", bought[40:])
    before = service.decide("shop", "p-1")

    release = shop.shadow(service, parts_of(PolicySpec("uniform"), features=longer_by(90)))
    service.look()
    assert service.status().use_cases[0].shadow is None
    assert service.status().use_cases[0].refused == {release: WAITING}
    assert service.decide("shop", "p-1").release_id == before.release_id
    catch_up(service)
    assert (service.status().use_cases[0].shadow, service.status().use_cases[0].refused) == (release, {})
    to_champion(service.ledger, "shop", release, ACT)
    service.look()
    after = service.decide("shop", "p-1")
    assert (after.release_id, after.features[-1], after.seen_seq) == (release, 80.0, 82)
    assert after.features[:2] == before.features[:2]


def test_a_lost_journal_is_made_anew_from_the_tables_and_goes_on(shop: Shop, service: DecisionService) -> None:
    service.accept_events("shop", [EventMessage(f"e-{n}", "p-1", "purchase", AT, {"amount_micros": 5, "product": "x"}) for n in range(30)])
    first = service.decide("shop", "p-1")
    drain(service.journal, service.tables, {"shop": SHOP.schema})
    service.close()
    shutil.rmtree(shop.layout.journal)
    with DecisionService(shop.settings, {"shop": SHOP}) as again:
        while not again.ready():
            catch_up(again)
        decision = again.decide("shop", "p-1")
        assert (decision.seen_seq, decision.seq) == (first.seq, first.seq + 1)
        drain(again.journal, again.tables, {"shop": SHOP.schema})
        assert again.tables.frame(SHOP.schema, "decisions")["decision_id"].to_list() == [first.decision_id, decision.decision_id]


def test_a_use_case_whose_ledger_is_empty_is_not_ready(shop: Shop) -> None:
    with DecisionService(shop.settings, {"shop": SHOP}) as service:
        assert not service.ready()
        shop.begin(service)
        service.look()
        assert service.ready()
        plan = service.ledger.plan("shop")
        assert isinstance(plan, TrafficPlan)
