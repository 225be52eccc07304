"""What the flow `train` does with a candidate that would not serve what was trained."""

from msgspec import structs

from contracts.clock import DAY_US
from contracts.records import FieldValue
from decisions.record import make_event, record_event
from decisions.value import estimate
from features.coverage import cover
from features.online import OnlineFeatures, retention
from flows.place import Place
from flows.train import keep, prove_parity, release, settle, shadow
from releases.bundle import Bundle
from releases.ledger import Act, Ledger
from releases.stages import rollback, to_champion, to_shadow
from storage.journal import Journal
from tests.flows.conftest import USE_CASE
from training.gate import Check, Verdict
from training.parity_gate import Parity
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


ALIKE = Parity((), {})
ACT = Act("test", 10**16, "because")


def candidate(revision: str = "new", step: str = "champion") -> Candidate:
    forecast = estimate(1.0, 0.1, n=10, clusters=10, effective_n=10.0, confidence=0.95)
    verdict = Verdict("learned", step, (Check("gain", step == "champion", "it earns"),), forecast)  # type: ignore[arg-type]  # why: the table is of plain text
    return Candidate(start_parts(EMAIL, {"revision": revision}), verdict, None)  # type: ignore[arg-type]  # why: nobody looks at it here


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


def kept(place: Place, revision: str = "new") -> Bundle:
    made: Bundle = keep.fn(place, candidate(revision))
    return made


def champion_of(ledger: Ledger) -> str:
    plan = ledger.plan(USE_CASE)
    assert plan is not None
    return plan.champion.release_id


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
    # nothing of it needs MLflow, which does not run here
    refused = settle.fn(place, bundle, candidate(), parity)
    assert refused is not None and refused.stage == "refused"
    with place.ledger() as ledger:
        assert ledger.stage_of(bundle.release_id) == "refused"
        row = ledger.rows(USE_CASE, limit=1)[0]
        assert ledger.plan(USE_CASE) == plan
    assert (row.actor, row.action, row.release_id) == ("flow train", "refused", bundle.release_id)
    assert "online and from the tables" in row.reason
    assert row.details["differing"]["features"][0].startswith("c-2: recency is 9.0 online, 1.0 from the tables")


def test_a_candidate_that_its_gate_refuses_is_refused_in_the_ledger_before_the_registry_is_asked(place: Place) -> None:
    bundle = kept(place)
    settled = settle.fn(place, bundle, candidate(step="refused"), ALIKE)
    assert settled is not None and (settled.stage, settled.reason) == ("refused", "it earns")
    with place.ledger() as ledger:
        assert ledger.stage_of(bundle.release_id) == "refused"


def test_a_candidate_that_may_go_on_is_settled_by_nothing(place: Place) -> None:
    bundle = kept(place)
    assert settle.fn(place, bundle, candidate(), ALIKE) is None
    with place.ledger() as ledger:
        to_shadow(ledger, USE_CASE, bundle.release_id, ACT)
        to_champion(ledger, USE_CASE, bundle.release_id, ACT)
    again = settle.fn(place, bundle, candidate(), ALIKE)
    assert again is not None and again.stage == "unchanged"


def test_a_release_that_was_rolled_back_from_is_taken_up_by_hand_alone(place: Place) -> None:
    bundle = kept(place)
    with place.ledger() as ledger:
        to_shadow(ledger, USE_CASE, bundle.release_id, ACT)
        to_champion(ledger, USE_CASE, bundle.release_id, ACT)
        rollback(ledger, USE_CASE, Act("anna", 10**16, "it sells what is sold out"))
    settled = settle.fn(place, bundle, candidate(), ALIKE)
    assert settled is not None and settled.stage == "retired"
    assert "it was rolled back at 2286-11-20 17:46 UTC by anna: it sells what is sold out" in settled.reason
    assert settled.next == "promote it by hand if you want it again"
    # who lets it become champion again by hand has forgiven it; it leaves for a better one later
    other = kept(place, "other")
    with place.ledger() as ledger:
        for release_id in (bundle.release_id, other.release_id):
            to_shadow(ledger, USE_CASE, release_id, ACT)
            to_champion(ledger, USE_CASE, release_id, ACT)
    assert settle.fn(place, bundle, candidate(), ALIKE) is None


def test_a_release_goes_on_only_while_the_champion_that_it_was_compared_with_is_one(place: Place) -> None:
    bundle, faster = kept(place), kept(place, "faster")
    with place.ledger() as ledger:
        champion = champion_of(ledger)
        to_shadow(ledger, USE_CASE, faster.release_id, ACT)
        to_champion(ledger, USE_CASE, faster.release_id, ACT)
    shadow.fn(place, USE_CASE, bundle, champion, "champion", 0.5)
    outcome = release.fn(place, USE_CASE, bundle, candidate(), champion, "champion", 0.5)
    assert outcome.stage == "shadow" and f"compared it with {champion}, and {faster.release_id} is champion now" in outcome.next
    with place.ledger() as ledger:
        assert champion_of(ledger) == faster.release_id
        assert ledger.rows(USE_CASE, limit=1)[0].details["compared_with"] == champion
    outcome = release.fn(place, USE_CASE, bundle, candidate(), faster.release_id, "champion", 0.5)
    assert outcome.stage == "champion"
    # run again, it finds it done
    assert release.fn(place, USE_CASE, bundle, candidate(), faster.release_id, "champion", 0.5).stage == "champion"
