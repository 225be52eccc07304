"""A small shop with releases of its own, served in process from a real journal and ledger."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import msgspec
import numpy as np
import polars as pl
import pytest

from contracts.catalogue import NO_ACTION, Candidate, Catalogue, Rule
from contracts.clock import HOUR_US
from contracts.events import EventType, FieldType
from contracts.settings import Serving, Settings, Store
from decisions.decide import build_runtime
from decisions.policies import PolicySpec
from features.definitions import Aggregate, Attribute, FeatureSet, Request, Window
from releases.bundle import BundleParts, read_bundle, write_bundle
from releases.golden import GOLDEN_SCHEMA
from releases.ledger import Act
from releases.stages import register, start, to_champion, to_shadow
from serving.app import App
from serving.catching_up import WAITING
from serving.hooks import Hooks
from serving.keys import owner_key
from serving.operations import Desk
from serving.service import DecisionService
from storage.layout import Layout
from use_cases.definition import UseCase

FEATURES = FeatureSet(
    "shop",
    (
        Aggregate(name="purchases_7d", source="purchase", aggregate="count", window_us=Window.days(7)),
        Aggregate(name="spend_7d", source="purchase", aggregate="sum", field="amount_micros", window_us=Window.days(7)),
        Aggregate(name="offers_1d", source="decision", aggregate="count", window_us=Window.days(1)),
        Attribute(name="country", source="profile", field="country", categories=("DE", "FR"), default=-1.0, max_age_us=Window.days(30)),
        Request(name="cart", field="cart", default=0.0),
    ),
)
CATALOGUE = Catalogue(
    (
        Candidate(NO_ACTION, {"kind": "none", "price": 0}),
        Candidate("gems", {"kind": "gems", "price": 5}, content={"text": "Gems!"}),
        Candidate("boost", {"kind": "boost", "price": 2}, rules=(Rule("purchases_7d", ">=", 1),), content={"text": "Boost!"}),
        Candidate("rare", {"kind": "gems", "price": 9}, cooldown_us=HOUR_US, content={"text": "Rare!"}),
    )
)
SHOP = UseCase(
    name="shop",
    title="What to offer a visitor of the shop",
    event_types=(
        EventType("purchase", {"amount_micros": FieldType.INT, "product": FieldType.STR}),
        EventType("profile", {"country": FieldType.STR}),
    ),
    feature_set=FEATURES,
    catalogue=CATALOGUE,
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("epsilon_greedy", 0.1),
    outcome_window_us=Window.days(1),
    ttl_us=HOUR_US,
    control_share=0.2,
)
AT = 1_700_000_000_000_000


def parts_of(
    policy: PolicySpec,
    kind: str = "constant",
    files: dict[str, bytes] | None = None,
    features: FeatureSet = FEATURES,
    catalogue: Catalogue = CATALOGUE,
) -> BundleParts:
    """Everything of a release of the shop, with the golden decisions that its scorer makes here."""
    runtime = build_runtime(
        "r-draft",
        catalogue=catalogue,
        features=features,
        policy=policy,
        scorer_kind=kind,
        files=files or {},
        baseline=SHOP.baseline,
        ttl_us=SHOP.ttl_us,
    )
    rows: list[dict[str, Any]] = []
    for number in range(5):
        values = np.arange(len(features.names), dtype=np.float64) * number
        eligible = runtime.eligibility.eligible(values.tolist(), {}, 0)
        scores = runtime.scorer.scores(values, eligible.positions)
        shares = runtime.policy.probabilities(scores, eligible.positions)
        rows.append(
            {"features": values.tolist(), "candidate_ids": list(eligible.ids), "scores": scores.tolist(), "p_in_arm": shares.tolist()}
        )
    return BundleParts(
        use_case="shop",
        scorer_kind=kind,
        scorer_files=files or {},
        features=msgspec.json.decode(features.to_json()),
        schema={},
        catalogue=catalogue,
        policy=msgspec.to_builtins(policy),
        settings={"baseline": SHOP.baseline, "ttl_us": SHOP.ttl_us},
        metrics={},
        gate={},
        data={},
        code={},
        golden=pl.DataFrame(rows, schema=dict(GOLDEN_SCHEMA)),
        engine={"lightgbm": lightgbm.__version__},
    )


def table_of(**values: float) -> dict[str, bytes]:
    """The file of a table scorer; candidates that are not named score 0."""
    return {"table.json": msgspec.json.encode({name: values.get(name, 0.0) for name in CATALOGUE.index}, order="sorted")}


class Shop:
    """The installation of a test: its settings, and what an operator would do to it."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            state=str(folder),
            use_cases=("shop",),
            store=Store(map_size_bytes=2**26, idempotency_days=50_000),
            serving=Serving(max_body_bytes=200_000, max_batch=300),
        )
        self.layout = Layout(self.settings.folder)
        self.layout.root.mkdir(parents=True, exist_ok=True)

    def write(self, parts: BundleParts) -> str:
        """Write a bundle; its release id."""
        return write_bundle(self.layout.bundles, parts, self.layout.secrets)

    def begin(self, service: DecisionService, parts: BundleParts | None = None) -> str:
        """Make a first release champion."""
        release_id = self.write(parts or parts_of(SHOP.start_policy))
        start(service.ledger, "shop", release_id, self._digest(release_id), SHOP.control_share, Act("test", AT, "the first release"))
        return release_id

    def register(self, service: DecisionService, parts: BundleParts) -> str:
        """Note a release as a candidate."""
        release_id = self.write(parts)
        register(service.ledger, "shop", release_id, self._digest(release_id), Act("test", AT, "a candidate"))
        return release_id

    def shadow(self, service: DecisionService, parts: BundleParts) -> str:
        """Let a release score in the shadow."""
        release_id = self.register(service, parts)
        to_shadow(service.ledger, "shop", release_id, Act("test", AT, "look at it"))
        return release_id

    def promote(self, service: DecisionService, parts: BundleParts) -> str:
        """Take a release through the shadow to champion."""
        release_id = self.shadow(service, parts)
        to_champion(service.ledger, "shop", release_id, Act("test", AT, "it is better"))
        return release_id

    def _digest(self, release_id: str) -> str:
        return read_bundle(self.layout.bundles, release_id).digest


def catch_up(service: DecisionService, patience_s: float = 60.0) -> None:
    """Wait until no release waits for its features."""
    stop = time.monotonic() + patience_s
    service.look()
    while WAITING in service.status().use_cases[0].refused.values():
        assert time.monotonic() < stop, "the features were not made"
        time.sleep(0.02)
        service.look()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """An empty installation with the use case `shop`."""
    return Shop(tmp_path / "state")


@pytest.fixture
def service(shop: Shop) -> Iterator[DecisionService]:
    """Its service, with the first release live."""
    made = DecisionService(shop.settings, {"shop": SHOP})
    shop.begin(made)
    with made:
        yield made


@pytest.fixture
def desk(shop: Shop, service: DecisionService) -> Desk:
    """The installation for its operator."""
    return Desk(shop.layout, service.ledger, {"shop": SHOP}, service.clock)


@pytest.fixture
def app(shop: Shop, service: DecisionService) -> Iterator[App]:
    """Its HTTP application."""
    hooks = Hooks(shop.layout, service.clock)
    yield App(service, hooks)
    hooks.close()


@pytest.fixture
def key(shop: Shop, service: DecisionService) -> str:
    """The owner's key."""
    made = owner_key(shop.layout)
    service.look()
    return made


@pytest.fixture
def http(app: App) -> Callable[..., httpx.AsyncClient]:
    """Makes HTTP clients of the application."""

    def make(**headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop", headers=headers)

    return make
