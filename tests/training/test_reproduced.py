"""The same inputs give the same release, wherever and in however many parts they come; any other input gives another."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec import structs

from contracts.catalogue import Catalogue
from contracts.clock import DAY_US
from releases.bundle import write_bundle
from tests.training.conftest import NOW, SHOP, Installed, Made
from training.import_log import import_log
from training.train import train, train_on

COUNT = 1_200


def released(folder: Path, parts: int, now_us: int) -> str:
    """Take a log in, in so many parts, drained after each; train, and write the release."""
    rng = np.random.default_rng(4)
    action = rng.integers(0, 3, COUNT)
    bought = rng.random(COUNT) < 0.05 + 0.3 * (action == np.arange(COUNT) % 2)
    log = pl.DataFrame(
        {
            "decision_id": [f"d-{number}" for number in range(COUNT)],
            "entity_id": [f"c-{number}" for number in range(COUNT)],
            "decided_at": NOW - 8 * DAY_US + np.arange(COUNT) * 60_000_000,
            "action": np.array(["red", "blue", "none"])[action],
            "propensity": [1 / 3] * COUNT,
            "reward": np.where(bought, 5_000_000, 0),
        }
    )
    folder.mkdir()
    installed = Installed(folder)
    try:
        for number, part in enumerate(np.array_split(np.arange(COUNT), parts)):
            installed.know({f"c-{entity}": "rb"[entity % 2] for entity in part}, NOW - 9 * DAY_US)
            log[int(part[0]) : int(part[-1]) + 1].write_parquet(folder / f"{number}.parquet")
            import_log(installed.journal, SHOP, folder / f"{number}.parquet", installed.online.apply, now_us=NOW)
            installed.drain()
        made = train(installed.tables, SHOP, now_us=now_us, folder=folder / "work", code={"revision": "abc"}).parts
        return write_bundle(folder / "bundles", made, folder / "secrets")
    finally:
        installed.journal.close()


def test_the_same_log_gives_the_same_release_in_another_folder_another_process_and_other_files(tmp_path: Path) -> None:
    here = released(tmp_path / "here", parts=1, now_us=NOW)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(released, tmp_path / "there", parts=3, now_us=NOW + 5 * DAY_US).result()
    assert here == there
    files = [tmp_path / place / "bundles" / here / "data.json" for place in ("here", "there")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture(scope="module")
def base(made: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    return write_bundle(folder, train_on(made(900), code={"revision": "abc"}).parts, folder / "secrets")


def louder(catalogue: Catalogue) -> Catalogue:
    return Catalogue((structs.replace(catalogue.candidates[0], content={"text": "!"}), *catalogue.candidates[1:]))


@pytest.mark.parametrize("what", ["a reward", "a feature", "content", "rounds", "time to live", "revision", "an approver"])
def test_any_other_input_gives_another_release(made: Made, base: str, tmp_path: Path, what: str) -> None:
    revision = "abd" if what == "revision" else "abc"
    use_case = {
        "content": replace(SHOP, catalogue=louder(SHOP.catalogue)),
        "rounds": replace(SHOP, learner=replace(SHOP.learner, rounds=101)),
        "time to live": replace(SHOP, ttl_us=SHOP.ttl_us + 1),
        "an approver": replace(SHOP, approvers=("ada",)),
    }.get(what, SHOP)
    training_set = made(900, use_case=use_case)
    if what == "a reward":
        one = training_set.rows["reward"].to_numpy().copy()
        one[5] += 1
        training_set = replace(training_set, rows=training_set.rows.with_columns(reward=pl.Series(one)))
    if what == "a feature":
        features = training_set.features.copy()
        features[5, 1] += 1.0
        training_set = replace(training_set, features=features)
    assert write_bundle(tmp_path, train_on(training_set, code={"revision": revision}).parts, tmp_path / "secrets") != base


def test_training_again_from_the_same_gives_the_same(made: Made, base: str, tmp_path: Path) -> None:
    assert write_bundle(tmp_path, train_on(made(900), code={"revision": "abc"}).parts, tmp_path / "secrets") == base
