"""What is answered while a part is gone: the state, the model, the log, the ledger. Every answer says so."""

import asyncio
import dataclasses
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import httpx
import lmdb
import msgspec
import pytest

from contracts.catalogue import NO_ACTION, Catalogue
from contracts.errors import Conflict, InvalidInput, NotFound, StoreUnavailable, Unconfirmed
from contracts.metrics import DEGRADED, FAILED, REPLICA_PLAN_VERSION
from contracts.traffic import CONTROL
from decisions.decide import LOG_UNAVAILABLE, MODEL_FAILED, MODEL_GONE
from decisions.explain import recompute
from decisions.policies import PolicySpec
from releases import database
from serving.deciding import DAMAGED, UNREADABLE
from serving.live import RULES
from serving.service import DecisionService
from storage.drain import drain
from storage.health import read_health
from storage.transaction import Write
from tests.serving.conftest import CATALOGUE, SHOP, Shop, parts_of, table_of

BY_CONTROL = dataclasses.replace(SHOP, unlogged="control")
FULL = "there is no room"


class Broken:
    """A scorer that fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error or FloatingPointError("it was compiled for another machine")

    def scores(self, values: Any, positions: Any) -> Any:
        raise self._error


@contextmanager
def refusing(service: DecisionService, error: Exception | None = None) -> Iterator[None]:
    """The journal of a service takes nothing in. What makes it so is shown elsewhere."""

    def fail(work: object) -> "Future[Any]":
        return _failed(error or StoreUnavailable("the journal", FULL))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.journal, "submit", fail)
        patch.setattr(service.journal, "submit_prepared", fail)
        patch.setattr(service.journal, "refusal", lambda: None if error else FULL)
        yield


def _failed(error: Exception) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def break_model(service: DecisionService, error: Exception | None = None) -> None:
    live = service.live("shop")
    (release,) = live.releases.values()
    object.__setattr__(release, "runtime", dataclasses.replace(release.runtime, scorer=Broken(error)))


@pytest.fixture(autouse=True)
def followed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Following the plans fails at none of these faults: what would be swallowed there is found here."""
    yield
    assert not [
        record.getMessage()
        for when in ("setup", "call")
        for record in caplog.get_records(when)
        if "the plan of" in record.msg and record.exc_info
    ]


def test_a_model_that_fails_is_replaced_by_the_baseline_with_its_exact_probability(service: DecisionService) -> None:
    arm = service.decide("shop", "p-1").arm
    break_model(service)
    decision = service.decide("shop", "p-1", {}, "d-1")
    assert (decision.degraded, decision.action, decision.propensity, decision.arm) == ((MODEL_FAILED,), NO_ACTION, 1.0, arm)
    assert sum(candidate.p_in_arm for candidate in decision.candidates) == 1.0
    assert not any(candidate.score for candidate in decision.candidates)
    assert service.decision("shop", "d-1") == decision
    (release,) = service.live("shop").releases.values()
    assert recompute(decision, release.runtime).exact


def test_what_a_model_takes_for_wrong_input_is_no_fault_of_the_client(service: DecisionService) -> None:
    break_model(service, InvalidInput("features", "cannot be scored", "3 columns"))
    assert service.decide("shop", "p-1", {"cart": 1.0}).degraded == (MODEL_FAILED,)
    assert sum(service.metrics.totals(FAILED).values()) == 1
    with pytest.raises(InvalidInput, match="context"):
        service.decide("shop", "p-1", {"c" * 999: 1.0})


def test_a_release_that_fails_is_counted_as_failed_so_that_a_canary_of_it_is_stopped(service: DecisionService) -> None:
    break_model(service)
    for number in range(3):
        service.decide("shop", f"p-{number}")
    service.health.publish(at_once=True)
    assert sum(service.metrics.totals(FAILED).values()) == 3
    found = read_health(service.layout, "shop").values()
    assert (sum(one.failed for one in found), sum(one.decided for one in found)) == (3, 0)


def test_rules_that_fail_as_well_leave_no_action(service: DecisionService, monkeypatch: pytest.MonkeyPatch) -> None:
    (release,) = service.live("shop").releases.values()
    monkeypatch.setattr(type(release.runtime.eligibility), "eligible", lambda *_: 1 / 0)
    decision = service.decide("shop", "p-1")
    assert [(one.candidate_id, one.p_in_arm) for one in decision.candidates] == [(NO_ACTION, 1.0)]
    assert decision.degraded == (MODEL_FAILED,)


def test_without_any_bundle_the_baseline_answers_until_one_is_there(shop: Shop, service: DecisionService) -> None:
    before = service.decide("shop", "p-1", {}, "d-before")
    service.close()
    shutil.move(shop.layout.bundles, shop.layout.root / "elsewhere")
    with DecisionService(shop.settings, {"shop": SHOP}) as again:
        assert again.ready()
        assert set(again.metrics.totals(REPLICA_PLAN_VERSION)) == {("shop",)}
        decision = again.decide("shop", "p-1")
        assert (decision.release_id, decision.action, decision.propensity) == (RULES, NO_ACTION, 1.0)
        assert (decision.degraded, decision.arm == CONTROL) == ((MODEL_GONE,), before.arm == CONTROL)
        assert again.decide("shop", "p-1", {}, "d-before") == before
        assert again.answer(decision).content == {}
        assert list(again.status().use_cases[0].refused) == [before.release_id]
        drain(again.journal, again.tables, {"shop": SHOP.schema})
    shutil.move(shop.layout.root / "elsewhere", shop.layout.bundles)
    with DecisionService(shop.settings, {"shop": SHOP}) as mended:
        assert (mended.decide("shop", "p-1").release_id, mended.decide("shop", "p-2").degraded) == (before.release_id, ())


def test_a_store_that_cannot_be_read_is_answered_from_defaults_and_said(service: DecisionService, monkeypatch: pytest.MonkeyPatch) -> None:
    first = service.decide("shop", "p-1", {}, "d-1")
    read = service.journal.read
    monkeypatch.setattr(service.journal, "read", lambda: (_ for _ in ()).throw(StoreUnavailable("the journal", "MDB_READERS_FULL")))
    decision = service.decide("shop", "p-1")
    assert (decision.degraded, decision.seen_seq, decision.seq) == ((UNREADABLE,), 0, first.seq + 1)
    assert service.decide("shop", "p-1", {}, "d-1") == first
    monkeypatch.setattr(service.journal, "read", read)
    assert service.decide("shop", "p-1").degraded == ()


def test_an_error_of_the_store_within_a_read_is_one_of_ours(service: DecisionService) -> None:
    with pytest.raises(StoreUnavailable, match="BadTxnError"), service.journal.read():
        raise lmdb.BadTxnError("gone")


def test_half_a_state_is_damaged_and_made_anew(service: DecisionService) -> None:
    seq = service.decide("shop", "p-1").seq

    def halve(write: Write) -> None:
        state = write.get_state("shop", "p-1") or b""
        write.put_state("shop", "p-1", state + bytes(5_000))
        write._transaction.delete(b"shop\0p-1", db=write._tables["heads"])

    service.journal.write(halve)
    decision = service.decide("shop", "p-1")
    assert (decision.degraded, decision.seq) == ((DAMAGED,), seq + 1)
    assert service.decide("shop", "p-1").degraded == ()


@pytest.mark.parametrize(("limits", "said"), [(True, (DAMAGED,)), (False, ())])
def test_damaged_events_are_made_anew_and_said_where_the_decision_needed_them(shop: Shop, limits: bool, said: tuple[str, ...]) -> None:
    catalogue = CATALOGUE if limits else Catalogue(tuple(msgspec.structs.replace(one, cooldown_us=0) for one in CATALOGUE.candidates))

    def damage(write: Write) -> None:
        state = write.get_state("shop", "p-1") or b""
        write.put_state("shop", "p-1", state[:-1] + bytes([state[-1] ^ 1]))

    with DecisionService(shop.settings, {"shop": SHOP}) as service:
        shop.begin(service, parts_of(SHOP.start_policy, catalogue=catalogue))
        service.look()
        seq = service.decide("shop", "p-1").seq
        service.journal.write(damage)
        decisions = [service.decide("shop", "p-1") for _ in range(2)]
        assert [(decision.degraded, decision.seq) for decision in decisions] == [(said, seq + 1), ((), seq + 2)]
        assert service.metrics.totals(FAILED) == {}


def test_what_cannot_be_logged_is_refused_but_not_what_was_answered_before(service: DecisionService) -> None:
    first = service.decide("shop", "p-1", {}, "d-1")
    with refusing(service):
        with pytest.raises(StoreUnavailable, match=FULL):
            service.decide("shop", "p-1")
        assert service.decide("shop", "p-1", {}, "d-1") == first
        with pytest.raises(Conflict):
            service.decide("shop", "p-2", {}, "d-1")


def test_a_use_case_that_says_so_answers_with_control_and_logs_nothing(shop: Shop) -> None:
    with DecisionService(shop.settings, {"shop": BY_CONTROL}) as service:
        shop.begin(service, parts_of(PolicySpec("greedy"), "table", table_of(gems=1.0)))
        service.look()
        assert service.decide("shop", "p-1", {}, "d-1").degraded == ()
        with refusing(service):
            decision = service.decide("shop", "p-1", {}, "d-2")
            assert service.decide("shop", "p-1", {}, "d-1").degraded == ()
        assert (decision.arm, decision.action, decision.propensity, decision.degraded) == (CONTROL, NO_ACTION, 1.0, (LOG_UNAVAILABLE,))
        with pytest.raises(NotFound):
            service.decision("shop", "d-2")
        assert service.metrics.totals(DEGRADED) == {("shop", "log"): 1}
        with refusing(service, Unconfirmed("the journal", 9.0)), pytest.raises(Unconfirmed):
            service.decide("shop", "p-1")
        with refusing(service, StoreUnavailable("the journal", "a group failed")):
            assert service.decide("shop", "p-1", {}, "d-1").degraded == ()
        drain(service.journal, service.tables, {"shop": SHOP.schema})
        assert service.tables.frame(SHOP.schema, "decisions")["decision_id"].to_list() == ["d-1"]


def test_whoever_waits_for_control_gets_an_answer_though_that_fails_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with DecisionService(shop.settings, {"shop": BY_CONTROL}) as service:
        shop.begin(service, parts_of(PolicySpec("greedy")))
        service.look()
        monkeypatch.setattr(service, "_answered", lambda request: msgspec.msgpack.decode(b"\xc1"))
        with refusing(service), pytest.raises(msgspec.DecodeError):
            service.submit("shop", "p-1", {}, None).result(10.0)


def test_a_release_of_an_earlier_catalogue_that_lives_on_has_no_content(service: DecisionService) -> None:
    decision = service.decide("shop", "p-1")
    assert service.answer(msgspec.structs.replace(decision, action="of another time")).content == {}


def test_http_says_when_to_ask_again_and_every_replica_stays_in_its_place(
    service: DecisionService, key: str, http: Callable[..., httpx.AsyncClient]
) -> None:
    async def ask() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        sent = {"events": [_purchase()]}
        async with http(authorization=f"Bearer {key}") as client:
            with refusing(service):
                refused = [
                    await client.post("/v1/shop/decisions", json={"entity_id": "p-1"}),
                    await client.post("/v1/shop/events", json=sent),
                ]
                ready = await client.get("/readyz")
            return refused, ready, await client.post("/v1/shop/events", json=sent)

    refused, ready, taken = asyncio.run(ask())
    assert ready.status_code == 200
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in refused] == [(503, "1")] * 2
    assert taken.json()["accepted"] == 1


def _purchase() -> dict[str, Any]:
    fields = {"amount_micros": 1, "product": "a"}
    return {"event_id": "v-1", "entity_id": "p-1", "type": "purchase", "event_time": 1_700_000_000_000_000, "fields": fields}


def test_a_replica_starts_while_the_ledger_is_locked(shop: Shop, service: DecisionService, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BUSY_S", 0.05), ("AGAIN_S", 0.0)):
        monkeypatch.setattr(database, name, seconds)
    before = service.status().use_cases[0]
    service.close()
    holder = sqlite3.connect(shop.layout.ledger, isolation_level=None)
    try:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with DecisionService(shop.settings, {"shop": SHOP}) as again:
            assert again.ready()
            assert again.decide("shop", "p-1").degraded == ()
            assert msgspec.structs.replace(again.status().use_cases[0]) == before
            with pytest.raises(StoreUnavailable):
                again.ledger.plan("shop")
            holder.execute("ROLLBACK")
            holder.close()
            new = shop.promote(again, parts_of(PolicySpec("greedy")))
            again.look()
            assert again.live("shop").plan.champion.release_id == new
    finally:
        holder.close()
