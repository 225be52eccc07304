import shutil
from dataclasses import replace

import polars as pl
import pytest
from msgspec import structs

from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US, HOUR_US
from contracts.records import Event
from decisions.record import make_event, record_event
from features.coverage import cover
from features.definitions import Aggregate, FeatureSet, Request, Window
from features.online import retention
from releases.bundle import Bundle, BundleParts, read_bundle, write_bundle
from storage.journal import Journal
from tests.training.conftest import FEATURES, NOW, SHOP, Installed
from training.parity_gate import Parity, prove
from training.train import start_parts
from use_cases.definition import UseCase

WIDER = FeatureSet("shop", (*FEATURES.features, Aggregate(name="visits_1d", source="visit", aggregate="count", window_us=Window.days(1))))


@pytest.fixture
def stores(installed: Installed) -> Installed:
    """Three customers, the second of whom came twice, drained; their states hold all that the features need."""
    installed.know({f"c-{number}": "rb"[number % 2] for number in range(3)}, NOW - 9 * DAY_US)
    visits = [("c-1", NOW - 5 * DAY_US), ("c-1", NOW - HOUR_US), ("c-2", NOW - 3 * HOUR_US)]
    events = [make_event(f"v-{number}", name, "visit", at, {}, ingested_time=at) for number, (name, at) in enumerate(visits)]
    installed.journal.write(lambda write: [record_event(write, "shop", event, installed.online.apply) for event in events])
    installed.journal.write(lambda write: cover(write, "shop", retention([FEATURES])))
    installed.drain()
    return installed


def written(stores: Installed, parts: BundleParts) -> Bundle:
    return read_bundle(stores.folder / "bundles", write_bundle(stores.folder / "bundles", parts, stores.folder / "secrets"))


def proof(stores: Installed, parts: BundleParts, champion: BundleParts | None = None, use_case: UseCase = SHOP) -> Parity:
    return prove(
        written(stores, parts),
        use_case,
        champion,
        journal=stores.journal,
        tables=stores.tables,
        at_us=NOW,
        folder=stores.folder / "work",
    )


def test_what_is_as_it_should_be_is_proven(stores: Installed) -> None:
    found = proof(stores, start_parts(SHOP), start_parts(SHOP))
    assert (found.holds, found.differing) == (True, {})
    assert [check.reason for check in found.checks] == [
        "the scorer that serves gives 1 of 1 golden decisions the scores of training",
        "features of 3 entities, online and from the tables as of one moment: 0 differences",
        "clients may send and read what they may with the champion",
    ]
    assert not list((stores.folder / "work").iterdir())


def test_a_score_that_differs_in_its_last_bit_is_named(stores: Installed) -> None:
    parts = start_parts(SHOP)
    found = proof(stores, replace(parts, golden=parts.golden.with_columns(pl.Series("scores", [[0.0, 5e-324, 0.0]]))))
    assert not found.holds
    assert found.differing == {"scores": ("golden decision 0: blue is scored 0.0, in training 5e-324",)}


def test_other_probabilities_are_named(stores: Installed) -> None:
    parts = start_parts(SHOP)
    found = proof(stores, replace(parts, golden=parts.golden.with_columns(pl.Series("p_in_arm", [[0.5, 0.25, 0.25]]))))
    assert found.differing == {"scores": ("golden decision 0 gets other probabilities than in training",)}


def test_parts_that_do_not_fit_each_other_are_refused(stores: Installed) -> None:
    found = proof(stores, replace(start_parts(SHOP), settings={}))
    assert [(check.name, check.passed) for check in found.checks] == [("scores", False)]
    assert "do not fit" in found.checks[0].reason


def forge(stores: Installed, *events: Event) -> None:
    """Let the state of an entity follow from other events than the tables have, as many of them."""
    state = stores.online.build([structs.replace(event, seq=number) for number, event in enumerate(events, start=1)])
    assert state is not None
    stores.journal.write(lambda write: write.put_state("shop", events[0].entity_id, state))


def visit(name: str, ago_us: int) -> Event:
    return make_event(f"v-{ago_us}", name, "visit", NOW - ago_us, {}, ingested_time=NOW - HOUR_US)


def test_a_state_that_says_something_else_than_the_tables_is_named_by_its_features(stores: Installed) -> None:
    forge(stores, visit("c-1", 6 * HOUR_US), visit("c-1", 5 * HOUR_US), visit("c-1", 4 * HOUR_US))
    found = proof(stores, start_parts(SHOP))
    assert [check.passed for check in found.checks] == [True, False, True]
    assert found.differing == {
        "features": (
            "c-1: kind is -1.0 online, 1.0 from the tables",
            "c-1: visits is 3.0 online, 2.0 from the tables",
            "c-1: missing are hour, kind online, hour from the tables",
        )
    }


def test_a_feature_that_no_decision_has_logged_is_compared_too(stores: Installed) -> None:
    wider = replace(SHOP, feature_set=WIDER)
    assert proof(stores, start_parts(wider), use_case=wider).holds
    known = make_event("k-c-2", "c-2", "customer", NOW - 9 * DAY_US, {"kind": "r"}, ingested_time=NOW - 9 * DAY_US)
    forge(stores, known, visit("c-2", 3 * DAY_US))
    assert proof(stores, start_parts(SHOP)).holds
    found = proof(stores, start_parts(wider), use_case=wider)
    assert found.differing["features"][0] == "c-2: visits_1d is 0.0 online, 1.0 from the tables"


def state_of(stores: Installed, name: str) -> bytes:
    state = stores.journal.get_state("shop", name)
    assert state is not None
    return state


def test_states_that_are_newer_than_the_tables_are_not_counted(stores: Installed) -> None:
    later = make_event("v-9", "c-0", "visit", NOW - 5, {}, ingested_time=NOW - 5)
    stores.journal.write(lambda write: record_event(write, "shop", later, stores.online.apply))
    found = proof(stores, start_parts(SHOP))
    assert found.holds
    assert "features of 2 entities" in found.checks[1].reason
    assert "1 whose states are newer than the tables were not counted" in found.checks[1].reason


def lose(stores: Installed) -> None:
    """Lose all states, but for what is written down about how far back they reach."""
    stores.journal.close()
    shutil.rmtree(stores.folder / "journal")
    stores.journal = Journal(stores.folder / "journal", 2**28)
    stores.journal.write(lambda write: cover(write, "shop", retention([FEATURES])))


def test_states_that_are_missing_are_named(stores: Installed) -> None:
    lose(stores)
    found = proof(stores, start_parts(SHOP))
    assert [check.passed for check in found.checks] == [True, False, True]
    assert "features of 3 entities, online and from the tables as of one moment: 3 differences" in found.checks[1].reason
    assert (
        "c-1: has no state online, and the tables hold its events up to number 3: kind is -1.0 online, 1.0 from the tables; "
        "visits is 0.0 online, 2.0 from the tables; missing are hour, kind, visits online, hour from the tables"
    ) in found.differing["features"]


def test_a_state_that_is_missing_and_says_nothing_any_more_is_no_difference(stores: Installed) -> None:
    only = FeatureSet("shop", (Aggregate(name="visits_30m", source="visit", aggregate="count", window_us=Window.minutes(30)),))
    use_case = replace(SHOP, feature_set=only)
    lose(stores)
    found = proof(stores, start_parts(use_case), use_case=use_case)
    assert found.holds
    assert "features of 3 entities" in found.checks[1].reason


def test_states_that_will_be_made_from_the_tables_may_be_missing_until_then(stores: Installed) -> None:
    lose(stores)
    longer = FeatureSet("shop", (Aggregate(name="visits", source="visit", aggregate="count", window_us=Window.days(28)),))
    use_case = replace(SHOP, feature_set=longer)
    found = proof(stores, start_parts(use_case), use_case=use_case)
    assert found.holds
    assert "of 3 by states made from the tables" in found.checks[1].reason


def test_a_state_that_is_older_than_the_tables_is_named_whatever_its_features(stores: Installed) -> None:
    known = make_event("k-c-1", "c-1", "customer", NOW - 9 * DAY_US, {"kind": "b"}, ingested_time=NOW - 9 * DAY_US)
    forge(stores, known, visit("c-1", HOUR_US))
    found = proof(stores, start_parts(SHOP))
    assert [check.passed for check in found.checks] == [True, False, True]
    assert found.differing == {"features": ("c-1: its state online has seen events up to number 2, the tables hold them up to number 3",)}


def test_states_that_do_not_reach_back_far_enough_are_made_from_the_tables_as_they_will_be(stores: Installed) -> None:
    longer = FeatureSet("shop", (Aggregate(name="visits", source="visit", aggregate="count", window_us=Window.days(28)),))
    use_case = replace(SHOP, feature_set=longer)
    early = make_event("v-8", "c-0", "visit", NOW - 20 * DAY_US, {}, ingested_time=NOW - 20 * DAY_US)
    stores.journal.write(lambda write: record_event(write, "shop", early, stores.online.apply))
    stores.drain()
    found = proof(stores, start_parts(use_case), use_case=use_case)
    assert found.holds
    assert "features of 3 entities" in found.checks[1].reason
    assert "of 1 by states made from the tables" in found.checks[1].reason


def test_a_damaged_state_is_named(stores: Installed) -> None:
    stores.journal.write(lambda write: write.put_state("shop", "c-2", b"\xff" * len(state_of(stores, "c-2"))))
    found = proof(stores, start_parts(SHOP))
    assert [check.passed for check in found.checks] == [True, False, True]
    assert found.differing["features"][0].startswith("c-2: ")


def test_before_anything_happened_there_is_nothing_to_compare(installed: Installed) -> None:
    found = proof(installed, start_parts(SHOP))
    assert found.holds
    assert "features of 0 entities" in found.checks[1].reason


def test_messages_that_clients_could_not_read_are_refused(stores: Installed) -> None:
    before = replace(
        SHOP,
        catalogue=Catalogue(tuple(Candidate(one.candidate_id, one.attributes, content={"text": "!"}) for one in SHOP.catalogue.candidates)),
    )
    other = FeatureSet("shop", (*FEATURES.features[:2], Request(name="hour", field="hour", categories=("am", "pm"), default=-1.0)))
    found = proof(stores, start_parts(replace(SHOP, feature_set=other)), start_parts(before))
    assert [check.passed for check in found.checks] == [True, True, False]
    assert found.differing == {"messages": ("context `hour` was number, is text", "content `text` is gone")}
