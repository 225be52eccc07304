"""From a training set to a bundle that serves the same."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from contracts.clock import DAY_US
from decisions.policies import PolicySpec
from features.definitions import FeatureSet
from releases.bundle import read_bundle, write_bundle
from tests.training.conftest import FEATURES, NOW, SHOP, Installed, Made
from training.golden import golden_decisions
from training.import_log import import_log
from training.train import forecast, plain, runtime_of, start_parts, train, train_on


def test_a_personal_world_gives_a_model_and_a_plain_one_the_best_single_candidate(made: Made, tmp_path: Path) -> None:
    learned = train_on(made(), champion="r-start")
    single = train_on(made(personal=False), champion="r-start")
    assert [candidate.verdict.step for candidate in (learned, single)] == ["champion", "champion"]
    assert (learned.parts.scorer_kind, single.parts.scorer_kind) == ("linear", "table")
    table = msgspec.json.decode(single.parts.scorer_files["table.json"])
    assert max(table, key=table.__getitem__) == "red"
    bundle = read_bundle(tmp_path, write_bundle(tmp_path, learned.parts, tmp_path / "secrets"))
    assert FeatureSet.from_json(msgspec.json.encode(bundle.parts.features)).digest == FEATURES.digest
    assert msgspec.convert(bundle.parts.policy, PolicySpec) == SHOP.learned_policy
    assert forecast(bundle.parts) == learned.verdict.forecast
    assert bundle.parts.gate["accepted"] is True


def test_the_bundle_decides_its_golden_decisions(made: Made, tmp_path: Path) -> None:
    parts = read_bundle(tmp_path, write_bundle(tmp_path, train_on(made()).parts, tmp_path / "secrets")).parts
    runtime = runtime_of(SHOP, parts.scorer_kind, parts.scorer_files, msgspec.convert(parts.policy, PolicySpec))
    assert parts.golden.height == 64
    for row in parts.golden.iter_rows(named=True):
        scores = runtime.scorer.scores(np.array(row["features"]), np.array([SHOP.catalogue.index[name] for name in row["candidate_ids"]]))
        assert scores.tolist() == row["scores"]


def test_the_same_data_gives_the_same_release(made: Made, tmp_path: Path) -> None:
    assert len({write_bundle(tmp_path, train_on(made(2_000), threads=threads).parts, tmp_path / "secrets") for threads in (1, 2)}) == 1


def test_a_start_release_says_what_answers_are_made_with(tmp_path: Path) -> None:
    settings = start_parts(SHOP).settings
    assert {name: settings[name] for name in ("baseline", "ttl_us", "outcome_window_us", "reward_unit", "reward_scale")} == {
        "baseline": "none",
        "ttl_us": SHOP.ttl_us,
        "outcome_window_us": SHOP.outcome_window_us,
        "reward_unit": "dollars",
        "reward_scale": 1_000_000,
    }
    assert settings["feature_set"] == FEATURES.digest
    assert start_parts(SHOP).messages == {"context": {"hour": ["number"]}, "content": {}}


def test_what_happens_is_told(made: Made) -> None:
    told: list[str] = []
    candidate = train_on(made(2_000), say=told.append)
    assert tuple(told[1:]) == candidate.verdict.reasons
    assert told[0].startswith("2 learners tried; ")


def test_the_start_release_serves_the_start_policy(tmp_path: Path) -> None:
    parts = read_bundle(tmp_path, write_bundle(tmp_path, start_parts(SHOP, {"revision": "abc"}), tmp_path / "secrets")).parts
    assert (parts.scorer_kind, parts.policy, parts.code) == ("constant", {"kind": "uniform"}, {"revision": "abc"})
    assert parts.golden["p_in_arm"].to_list() == [[1 / 3] * 3]


def test_from_an_imported_log_to_a_candidate(installed: Installed, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    count = 3_000
    kind = rng.integers(0, 2, count)
    action = rng.integers(0, 3, count)
    installed.know({f"c-{number}": "rb"[kind[number]] for number in range(count)}, NOW - 9 * DAY_US)
    bought = rng.random(count) < 0.05 + 0.3 * (action == kind)
    pl.DataFrame(
        {
            "decision_id": [f"d-{number}" for number in range(count)],
            "entity_id": [f"c-{number}" for number in range(count)],
            "action": np.array(["red", "blue", "none"])[action],
            "propensity": [1 / 3] * count,
            "reward": np.where(bought, 5_000_000, 0),
        }
    ).write_parquet(tmp_path / "log.parquet")
    import_log(installed.journal, SHOP, tmp_path / "log.parquet", installed.online.apply, now_us=NOW)
    installed.drain()
    told: list[str] = []
    entity_split = replace(SHOP, split="entity")
    found = train(installed.tables, entity_split, now_us=NOW, folder=tmp_path / "work", say=told.append)
    assert (found.verdict.choice, found.verdict.step) == ("learned", "champion")
    assert told[0] == "3000 matured decisions, 3000 of them with features computed from events"
    assert found.parts.data["backfilled"] == count


def test_golden_decisions_hold_what_training_scored_of_what_was_eligible() -> None:
    features = np.arange(12.0).reshape(4, 3)
    eligible = np.tile([True, False, True], (4, 1))
    scores = np.tile([0.5, -np.inf, 0.0], (4, 1))
    golden = golden_decisions(SHOP.catalogue, PolicySpec("greedy"), features, eligible, scores)
    assert [row[0] for row in golden["features"].to_list()] == [0.0, 3.0, 6.0, 9.0]
    assert golden["candidate_ids"].to_list() == [["red", "none"]] * 4
    assert golden["scores"].to_list() == [[0.5, 0.0]] * 4
    assert golden["p_in_arm"].to_list() == [[1.0, 0.0]] * 4


def test_plain_content_has_no_number_that_json_lacks() -> None:
    assert plain({"a": float("inf"), "b": (1, float("nan"), None, True, "x")}) == {"a": None, "b": [1, None, None, True, "x"]}
