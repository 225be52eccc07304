"""The training set, from the real journal and tables."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US
from contracts.errors import DataRefused
from contracts.traffic import CONTROL
from decisions.assignment import Assignment
from decisions.decide import DecisionRequest, decide
from decisions.record import SentOutcome, record_decision, record_outcome
from decisions.rewards import Outcomes
from storage.transaction import Write
from tests.training.conftest import CANDIDATES, FEATURES, NOW, SHOP, Installed, Made
from training.dataset import TrainingSet, build, candidates
from training.import_log import import_log
from training.train import runtime_of
from use_cases.definition import Gate, UseCase

AT = NOW - 3 * DAY_US
SMALL = replace(SHOP, gate=Gate(min_rows=1))


def serve(stores: Installed, count: int, *, arm: str = "champion", prefix: str = "s", at_us: int = AT) -> None:
    """Decide for as many customers as a service would, each with a reward of 1 + its number."""
    runtime = runtime_of(SHOP, "constant", {}, SHOP.start_policy)
    names = {f"{prefix}-{number}": "rb"[number % 2] for number in range(count)}
    stores.know(names, at_us - DAY_US)
    for number, name in enumerate(names):
        with stores.journal.read() as read:
            row = stores.online.read(read.get_state("shop", name), FEATURES, at_us, {"hour": number % 24})
        request = DecisionRequest(f"d-{name}", "shop", name, {"hour": number % 24})
        decision = decide(request, row, runtime, Assignment(arm, 1.0, "r-start"), draw=(number % 10) / 10, now_us=at_us)
        stores.journal.write(lambda write, decision=decision: record_decision(write, decision, stores.online.apply))  # type: ignore[misc]
        sent = SentOutcome(f"o-{name}", f"d-{name}", 1 + number, at_us + 5)
        stores.journal.write(lambda write, sent=sent: record_outcome(write, "shop", sent, stores.online.apply, ingested_time=at_us + 5))  # type: ignore[misc]
    stores.drain()


def built(stores: Installed, use_case: UseCase = SMALL, now_us: int = NOW) -> TrainingSet:
    return build(stores.tables, use_case, now_us=now_us, folder=stores.folder / "work")


def test_served_decisions_bring_their_features_and_these_are_what_recomputation_gives(installed: Installed) -> None:
    serve(installed, 20)
    found = built(installed)
    assert found.features[:, 0].tolist() == [float(int(name.split("-")[1]) % 2) for name in found.rows["entity_id"]]
    assert (found.backfilled, found.skew.rows, found.skew.differing_rows) == (0, 20, 0)
    assert sorted(found.rows["reward"].to_list()) == list(range(1, 21))
    assert found.p_in_arm.tolist() == [[1 / 3] * 3] * 20
    assert found.randomised.all() and not found.control.any()


def test_rewards_are_as_the_use_case_declares_them(installed: Installed) -> None:
    serve(installed, 6)
    sent = (
        SentOutcome("later", None, 100, AT + 7, entity_id="s-1"),
        SentOutcome("corrected", "d-s-2", 7, AT + 9, corrects="o-s-2"),
        SentOutcome("refund", "d-s-3", -4, AT + 2 * DAY_US),
    )

    def record(write: Write) -> None:
        for one in sent:
            record_outcome(write, "shop", one, installed.online.apply, ingested_time=AT + 2 * DAY_US)

    installed.journal.write(record)
    installed.drain()

    found = built(installed, replace(SMALL, outcomes=Outcomes(refund_window_us=3 * DAY_US)))

    assert dict(found.rows.select("decision_id", "reward").iter_rows()) == {
        "d-s-0": 1, "d-s-1": 102, "d-s-2": 7, "d-s-3": 0, "d-s-4": 5, "d-s-5": 6,
    }  # fmt: skip


def test_a_served_feature_that_recomputation_does_not_give_is_seen(installed: Installed) -> None:
    serve(installed, 10)
    runtime = runtime_of(SHOP, "constant", {}, SHOP.start_policy)
    installed.know({"x": "r"}, AT - DAY_US)
    with installed.journal.read() as read:
        row = installed.online.read(read.get_state("shop", "x"), FEATURES, AT, {})
    wrong = msgspec.structs.replace(row, values=row.values + np.array([0.0, 1.0, 0.0]))
    decision = decide(DecisionRequest("d-x", "shop", "x"), wrong, runtime, Assignment("champion", 1.0, "r-start"), draw=0.5, now_us=AT)
    installed.journal.write(lambda write: record_decision(write, decision, installed.online.apply))
    installed.drain()
    found = built(installed).skew
    assert (found.rows, found.differing_rows, found.features["visits"]) == (11, 1, 1)


def test_decisions_of_another_feature_set_get_theirs_from_events(installed: Installed) -> None:
    serve(installed, 12)
    other = replace(SMALL, feature_set=msgspec.structs.replace(FEATURES, features=FEATURES.features[:2]))
    found = built(installed, other)
    assert (found.backfilled, found.skew.rows) == (12, 0)
    assert found.features[:, 0].tolist() == [float(int(name.split("-")[1]) % 2) for name in found.rows["entity_id"]]
    assert found.features.shape == (12, 2)


def test_imported_decisions_get_theirs_from_what_was_known(installed: Installed, tmp_path: Path) -> None:
    installed.know({"early": "b"}, AT - DAY_US)
    installed.know({"late": "b"}, AT + 1)
    pl.DataFrame(
        {
            "decision_id": ["1", "2"],
            "entity_id": ["early", "late"],
            "decided_at": [AT, AT],
            "action": ["red", "blue"],
            "propensity": [0.5, 0.5],
            "reward": [0, 5],
        }
    ).write_parquet(tmp_path / "log.parquet")
    import_log(installed.journal, SHOP, tmp_path / "log.parquet", installed.online.apply, now_us=NOW)
    installed.drain()
    found = built(installed)
    assert found.features[:, 0].tolist() == [1.0, -1.0]
    assert found.p_in_arm.tolist() == [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]
    assert (found.backfilled, found.rows["source"].to_list()) == (2, ["imported", "imported"])


def test_only_closed_windows_count_and_control_is_told_apart(installed: Installed) -> None:
    serve(installed, 5)
    serve(installed, 4, arm=CONTROL, prefix="c")
    serve(installed, 3, prefix="n", at_us=NOW - DAY_US + 1)
    found = built(installed)
    assert (len(found), int(found.control.sum()), int(found.randomised.sum())) == (9, 4, 5)
    assert len(built(installed, now_us=NOW + 1)) == 12


def test_nothing_matured_or_too_little_is_refused(installed: Installed) -> None:
    with pytest.raises(DataRefused, match="there is no decision whose outcome window has closed"):
        built(installed)
    serve(installed, 5)
    with pytest.raises(DataRefused, match="5 matured decisions of randomised arms, 500 are needed"):
        built(installed, SHOP)


def test_candidates_that_left_the_catalogue_have_no_place() -> None:
    logged = pl.DataFrame(
        {"action": ["red", "blue"], "candidate_ids": [["red", "blue"], ["blue", "none"]], "p_in_arm": [[0.5, 0.5], [0.75, 0.25]]}
    )
    smaller = Catalogue(tuple(Candidate(name, {"colour": name}) for name in CANDIDATES if name != "blue"))
    action, eligible, shares = candidates(logged, smaller)
    assert action.tolist() == [0, -1]
    assert eligible.tolist() == [[True, False], [False, True]]
    assert shares.tolist() == [[0.5, 0.0], [0.0, 0.25]]


def test_the_digest_is_of_what_is_trained_on(made: Made) -> None:
    first, again, other = made(300), made(300), made(300, seed=6)
    assert first.digest == again.digest != other.digest
    nudged = replace(first, features=np.nextafter(first.features, np.inf))
    assert nudged.digest != first.digest
