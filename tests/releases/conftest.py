"""A small release, and stores in a folder of their own."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from contracts.catalogue import Candidate, Catalogue, Rule
from releases.bundle import BundleParts
from releases.golden import GOLDEN_SCHEMA
from releases.inbox import Inbox
from releases.ledger import Ledger


@pytest.fixture(scope="session")
def parts() -> BundleParts:
    """A best-single release over three candidates and two features."""
    catalogue = Catalogue(
        (
            Candidate("none", {"style": "none", "price": 0}),
            Candidate(
                "gems", {"style": "loud", "price": 499}, (Rule("level", ">=", 5), Rule("country", "in", ("DE", "FR"))), {"text": "Ä ⛏"}
            ),
            Candidate("gold", {"style": "calm", "price": 2.0}, cooldown_us=3_600_000_000),
        )
    )
    golden = pl.DataFrame(
        {
            "features": [[7.0, float("nan")], [0.1 + 0.2, -1.0]],
            "candidate_ids": [["none", "gems", "gold"], ["none", "gold"]],
            "scores": [[0.0, 0.1, 0.3], [0.0, 0.3]],
            "p_in_arm": [[0.05, 0.05, 0.9], [0.05, 0.95]],
        },
        schema=dict(GOLDEN_SCHEMA),
    )
    return BundleParts(
        use_case="shop",
        scorer_kind="table",
        scorer_files={"table.json": b'{"none": 0.0, "gems": 0.1, "gold": 0.3}'},
        features={"name": "shop", "features": [{"name": "level"}, {"name": "country"}]},
        schema={"purchase": {"amount_micros": "int"}},
        catalogue=catalogue,
        policy={"kind": "epsilon_greedy", "epsilon": 0.1},
        settings={"rounds": 150},
        metrics={"gain": {"value": 0.25, "low": 0.1, "high": 0.4}},
        gate={
            "accepted": True,
            "step": "challenger",
            "checks": [
                {"name": "gain", "passed": True, "reason": "gain 0.25 [0.10, 0.40] over control", "needed": True},
                {"name": "champion", "passed": False, "reason": "not shown to beat what serves", "needed": False},
            ],
        },
        data={"decisions": "ab" * 32},
        code={"revision": "0" * 40},
        golden=golden,
        engine={"polars": "2.1"},
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()
