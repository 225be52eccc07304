"""What the flow `train` does with a candidate that would not serve what was trained."""

from msgspec import structs

from contracts.clock import DAY_US
from contracts.records import FieldValue
from decisions.record import make_event, record_event
from decisions.value import estimate
from features.coverage import cover
from features.online import OnlineFeatures, retention
from flows.place import Place
from flows.train import keep, prove_parity, refuse
from releases.bundle import Bundle
from storage.journal import Journal
from tests.flows.conftest import USE_CASE
from training.gate import Check, Verdict
from training.train import Candidate, start_parts
from use_cases.definition import load

EMAIL = load(USE_CASE)
ONLINE = OnlineFeatures(EMAIL.schema, retention([EMAIL.feature_set], [EMAIL.catalogue]))
CUSTOMER: dict[str, FieldValue] = {
    "recency_months": 1,
    "history_cents": 500,
    "bought_mens": True,
    "bought_womens": False,
    "zip_code": "Urban",
    "newbie": False,
    "channel": "Web",
}


def candidate() -> Candidate:
    forecast = estimate(1.0, 0.1, n=10, clusters=10, effective_n=10.0, confidence=0.95)
    verdict = Verdict("learned", "champion", (Check("gain", True, "it earns"),), forecast)
    return Candidate(start_parts(EMAIL, {"revision": "new"}), verdict, None)  # type: ignore[arg-type]  # why: nobody looks at it here


def known(place: Place, customers: tuple[str, ...]) -> None:
    """Take customers in, and let their states count as reaching back far enough."""
    at = place.clock.now_us() - DAY_US
    events = [make_event(f"k-{name}", name, "customer", at, CUSTOMER, ingested_time=at) for name in customers]
    journal = Journal(place.layout.journal, place.settings.store.map_size_bytes)
    try:
        journal.write(lambda write: [record_event(write, USE_CASE, event, ONLINE.apply) for event in events])
        journal.write(lambda write: cover(write, USE_CASE, retention([EMAIL.feature_set], [EMAIL.catalogue])))
    finally:
        journal.close()
    place.drain()


def kept(place: Place) -> Bundle:
    made: Bundle = keep.fn(place, candidate())
    return made


def test_a_candidate_whose_online_features_differ_is_refused_and_the_ledger_names_them(place: Place) -> None:
    known(place, ("c-1", "c-2"))
    bundle = kept(place)
    with place.ledger() as ledger:
        plan = ledger.plan(USE_CASE)
    assert plan is not None
    champion = plan.champion.release_id
    assert prove_parity.fn(place, bundle, champion).holds
    journal = Journal(place.layout.journal, place.settings.store.map_size_bytes)
    other = make_event("k-9", "c-2", "customer", 0, CUSTOMER | {"recency_months": 9}, ingested_time=1)
    forged = ONLINE.build([structs.replace(other, seq=1)])
    journal.write(lambda write: write.put_state(USE_CASE, "c-2", forged or b""))
    journal.close()
    parity = prove_parity.fn(place, bundle, champion)
    assert not parity.holds
    refused = refuse.fn(place, bundle, candidate(), parity)
    assert refused.stage == "refused"
    with place.ledger() as ledger:
        assert ledger.stage_of(bundle.release_id) == "refused"
        row = ledger.rows(USE_CASE, limit=1)[0]
        assert ledger.plan(USE_CASE) == plan
    assert (row.actor, row.action, row.release_id) == ("flow train", "refused", bundle.release_id)
    assert "online and from the tables" in row.reason
    assert row.details["differing"]["features"][0].startswith("c-2: recency is 9.0 online, 1.0 from the tables")
