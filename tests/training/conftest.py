"""A shop with three things to show, whose customers are of two kinds, and logs of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from contracts.catalogue import NO_ACTION, Candidate, Catalogue
from contracts.clock import DAY_US, HOUR_US
from contracts.events import EventType, FieldType
from decisions.policies import PolicySpec
from decisions.record import make_event, record_event
from features.definitions import Aggregate, Attribute, FeatureSet, Request, Window
from features.online import OnlineFeatures, retention
from features.skew import SkewReport
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables
from training.dataset import Bools, TrainingSet
from use_cases.definition import Gate, Learner, UseCase

NOW = 20_000 * DAY_US
CANDIDATES = ("red", "blue", NO_ACTION)

FEATURES = FeatureSet(
    "shop",
    (
        Attribute(name="kind", source="customer", field="kind", categories=("r", "b"), default=-1.0),
        Aggregate(name="visits", source="visit", aggregate="count", window_us=Window.days(7)),
        Request(name="hour", field="hour"),
    ),
)

SHOP = UseCase(
    name="shop",
    title="What to show a customer",
    event_types=(EventType("customer", {"kind": FieldType.STR}), EventType("visit", {})),
    feature_set=FEATURES,
    catalogue=Catalogue(tuple(Candidate(name, {"colour": name}) for name in CANDIDATES)),
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("epsilon_greedy", 0.1),
    outcome_window_us=DAY_US,
    ttl_us=HOUR_US,
    learner=Learner(rounds=100, params={"min_data_in_leaf": 50, "num_leaves": 7}),
    gate=Gate(min_rows=500, min_effective=100.0),
)


class Installed:
    """The stores of an installation of the shop, without its services."""

    def __init__(self, folder: Path, use_case: UseCase = SHOP) -> None:
        self.folder = folder
        self.use_case = use_case
        self.journal = Journal(folder / "journal", 2**28)
        self.tables = Tables(folder / "tables")
        self.online = OnlineFeatures(use_case.schema, retention([use_case.feature_set], [use_case.catalogue]))

    def know(self, customers: dict[str, str], at_us: int) -> None:
        """Take in what kind each customer is of."""
        events = [make_event(f"k-{name}", name, "customer", at_us, {"kind": kind}, ingested_time=at_us) for name, kind in customers.items()]
        self.journal.write(lambda write: [record_event(write, self.use_case.name, event, self.online.apply) for event in events])

    def drain(self) -> None:
        """Move everything into the tables."""
        drain(self.journal, self.tables, {self.use_case.name: self.use_case.schema})


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    """An empty installation."""
    stores = Installed(tmp_path)
    yield stores
    stores.journal.close()


Made = Callable[..., TrainingSet]


def logged_set(
    count: int = 6_000, *, personal: bool = True, lift: float = 0.2, seed: int = 5, control: float = 0.1, use_case: UseCase = SHOP
) -> TrainingSet:
    """So many decisions, drawn at random, of a shop whose customers have tastes or not."""
    rng = np.random.default_rng(seed)
    entity = rng.integers(0, count // 3, count)
    kind = entity % 2
    held_back = entity % 100 < control * 100
    action = np.where(held_back, 2, rng.integers(0, 3, count))
    liked = (action == kind) if personal else (action == 0)
    bought = rng.random(count) < 0.05 + lift * liked
    dollars = np.where(bought, np.round(rng.lognormal(2.0, 0.5, count), 2), 0.0)
    rows = pl.DataFrame(
        {
            "decision_id": [f"d-{number:06d}" for number in range(count)],
            "entity_id": [f"c-{number:05d}" for number in entity],
            "decided_at": NOW - 5 * DAY_US + np.arange(count) * 1_000_000,
            "arm": np.where(held_back, "control", "champion"),
            "release_id": ["r-start"] * count,
            "source": ["served"] * count,
            "propensity": np.where(held_back, 1.0, 1 / 3),
            "reward": (dollars * 1_000_000).round().astype(np.int64),
        }
    )
    shares = np.where(held_back[:, None], np.eye(3)[[2]], 1 / 3)
    return TrainingSet(
        use_case=use_case,
        rows=rows,
        features=np.column_stack([kind, rng.integers(0, 9, count), rng.integers(0, 24, count)]).astype(np.float64),
        action=action.astype(np.int64),
        eligible=np.ones((count, 3), dtype=np.bool_),
        p_in_arm=shares,
        entity=entity.astype(np.int64),
        backfilled=0,
        skew=SkewReport(count, 0, {}, ()),
    )


@pytest.fixture(scope="session")
def made() -> Made:
    """Gives a training set; see `logged_set`."""
    return logged_set


def all_rows(training_set: TrainingSet) -> Bools:
    """A mask of everything."""
    return np.ones(len(training_set), dtype=np.bool_)


def changed(training_set: TrainingSet, **columns: Sequence[object] | NDArray[Any]) -> TrainingSet:
    """The same with other columns of its rows."""
    return replace(training_set, rows=training_set.rows.with_columns(pl.Series(name, values) for name, values in columns.items()))
