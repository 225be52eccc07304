from collections.abc import Iterator
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from contracts.catalogue import NO_ACTION, Candidate, Catalogue, Rule
from contracts.clock import DAY_US, HOUR_US
from contracts.records import Event
from decisions.decide import ReleaseRuntime, build_runtime
from decisions.kernel import find_compiler
from decisions.matrix import ModelColumns, paired_rows
from decisions.policies import PolicySpec
from decisions.record import ApplyEvent
from features.definitions import Aggregate, Attribute, FeatureSet, Window
from storage.journal import Journal


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long form: `make test ARGS="tests/decisions/test_draws.py --draws 1000000"`."""
    parser.addoption("--draws", type=int, default=18_000, help="draws of each composition of control, arms and policy")
    parser.addoption("--draws-seed", type=int, default=20_261_121, help="seed of their salts")


@pytest.fixture(scope="session")
def draws(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--draws", 18_000))


@pytest.fixture(scope="session")
def draws_seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--draws-seed", 20_261_121))


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """No action, two offers of gems (one dear, for level 5 and up), and coins for two countries, with a cool-down of a day."""
    return Catalogue(
        (
            Candidate(NO_ACTION, {"set": NO_ACTION, "price": 0}),
            Candidate("gems", {"set": "gems", "price": 199}),
            Candidate("gems_dear", {"set": "gems", "price": 999}, rules=(Rule("level", ">=", 5),)),
            Candidate("coins", {"set": "coins", "price": 99}, rules=(Rule("country", "in", ("DE", "US")),), cooldown_us=DAY_US),
        )
    )


@pytest.fixture(scope="session")
def features() -> FeatureSet:
    return FeatureSet(
        "game_v1",
        (
            Attribute(name="level", source="profile", field="level", default=1.0),
            Attribute(name="country", source="profile", field="country", categories=("DE", "US", "FR"), default=-1.0),
            Aggregate(name="spend_7d", source="purchase", aggregate="sum", field="amount_micros", window_us=Window.days(7)),
        ),
    )


@pytest.fixture(scope="session")
def model_text(catalogue: Catalogue, features: FeatureSet) -> str:
    """A small model, trained on 2,000 rows of which the price and the level matter."""
    generator = np.random.default_rng(5)
    columns = ModelColumns.of(features.names, catalogue)
    entities = np.column_stack(
        [generator.integers(1, 9, 2_000), generator.integers(-1, 3, 2_000), generator.exponential(5.0, 2_000)]
    ).astype(float)
    positions = generator.integers(0, 4, 2_000)
    target = columns.values[positions, 1] * entities[:, 0] + generator.normal(size=2_000)
    rows = paired_rows(entities, columns, positions)
    data = lightgbm.Dataset(rows, target, feature_name=list(columns.names), categorical_feature=["country", "candidate_set"])
    settings = {"objective": "regression", "num_leaves": 15, "num_threads": 1, "verbose": -1, "seed": 5, "deterministic": True}
    return str(lightgbm.train(settings, data, 20).model_to_string())


@pytest.fixture(scope="session")
def runtime(catalogue: Catalogue, features: FeatureSet, model_text: str) -> ReleaseRuntime:
    return build_runtime(
        "r-model",
        catalogue=catalogue,
        features=features,
        policy=PolicySpec("epsilon_greedy", 0.2),
        scorer_kind="lightgbm",
        files={"model.txt": model_text.encode()},
        baseline=NO_ACTION,
        ttl_us=HOUR_US,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.lmdb", 2**24)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def count_events() -> ApplyEvent:
    """The simplest online state: how many events the entity has had, which is the newest `seq`."""

    def apply(state: bytes | None, event: Event) -> tuple[bytes, int]:
        seq = int.from_bytes(state or b"", "big") + 1
        return seq.to_bytes(8, "big"), seq

    return apply


@pytest.fixture(scope="session")
def kernel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the kernel of compiled scorers is kept, so that it is built once."""
    if find_compiler() is None:
        pytest.skip("there is no C compiler here")
    return tmp_path_factory.mktemp("compiled", numbered=False)
