"""A shop whose releases people look at: a real ledger, journal, bundles and measurements, made once and copied for each test."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import httpx
import msgspec
import pytest
from starlette.testclient import TestClient

from contracts.clock import DAY_US, HOUR_US
from contracts.settings import Settings
from decisions.policies import PolicySpec
from releases.bundle import BundleParts, read_bundle
from releases.ledger import Act
from releases.stages import register, start, to_champion, to_shadow
from serving.console.app import build
from serving.console.desk import Office
from serving.keys import Scope, make_key, owner_key
from serving.messages import EventMessage
from serving.service import DecisionService
from storage.layout import Layout
from storage.measures import (
    ArmMeasure,
    ExperimentMeasure,
    Forecast,
    Interval,
    Measures,
    ShadowMeasure,
    SkewMeasure,
    TableMeasure,
    UseCaseMeasures,
    write,
)
from tests.serving.conftest import SHOP, parts_of, table_of
from tests.serving.conftest import Shop as Stores
from use_cases.definition import CanaryStep, Happening, Rollout, Scenario

HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"
"""What must never become part of a page's markup."""

CONSOLE_SHOP = replace(
    SHOP,
    approvers=("ada", "grace"),
    rollout=Rollout((CanaryStep(0.05), CanaryStep(0.25))),
    scenarios=(
        Scenario("new", "A new visitor", f"Nobody knows anything of them. {HOSTILE}"),
        Scenario(
            "buyer",
            "A buyer",
            "Bought twice within a week.",
            (
                Happening("purchase", 2 * DAY_US, {"amount_micros": 5_000_000, "product": "gems"}),
                Happening("purchase", HOUR_US, {"amount_micros": 2_000_000, "product": "boost"}),
                Happening("profile", 3 * DAY_US, {"country": "DE"}),
            ),
            {"cart": 2.0},
        ),
    ),
)
USE_CASES = {"shop": CONSOLE_SHOP}
AT = 1_700_000_000_000_000


def judged(parts: BundleParts, step: str = "champion") -> BundleParts:
    """The parts with a gate's verdict and an evaluation."""
    gate = {
        "accepted": step != "refused",
        "step": step,
        "forecast": {"value": 0.31, "low": 0.22, "high": 0.4},
        "checks": [
            {"name": "rows", "passed": True, "reason": "2,400 randomised decisions; 2,000 are needed", "needed": True},
            {"name": "champion", "passed": step == "champion", "reason": f"gain 0.05 {HOSTILE}", "needed": False},
        ],
    }
    metrics = {
        "slices": {"country=DE": {"value": 0.2, "low": 0.05, "high": 0.35}, HOSTILE: {"value": -0.1, "low": -0.3, "high": 0.1}},
        "logged": {"value": 0.25, "low": 0.2, "high": 0.3},
    }
    return replace(parts, gate=gate, metrics=metrics, settings={**parts.settings, "note": HOSTILE})


@dataclass(frozen=True)
class Place:
    """An installation, and the ids of its releases by what they are."""

    settings: Settings
    champion: str
    former: str
    shadow: str
    decisions: tuple[str, ...]

    @property
    def layout(self) -> Layout:
        """Where its state lies."""
        return Layout(self.settings.folder)

    def key(self, name: str, *scopes: Scope) -> str:
        """A new key."""
        return make_key(self.layout, name, scopes or (Scope.VIEW, Scope.OPERATE))


def _make(folder: Path) -> Place:
    stores = Stores(folder)
    service = DecisionService(stores.settings, USE_CASES)
    former = stores.write(parts_of(SHOP.start_policy))
    now = service.clock.now_us()
    acts = [Act("offerloop up", now - 5 * DAY_US, "the first release"), Act("flow train", now - 3 * DAY_US, f"looks better {HOSTILE}")]

    def digest(name: str) -> str:
        return read_bundle(stores.layout.bundles, name).digest

    start(service.ledger, "shop", former, digest(former), SHOP.control_share, acts[0])
    champion = stores.write(judged(parts_of(PolicySpec("epsilon_greedy", 0.1), "table", table_of(gems=0.2, boost=0.3))))
    shadow = stores.write(judged(parts_of(PolicySpec("epsilon_greedy", 0.2), "table", table_of(gems=0.9, rare=0.4))))
    for release_id in (champion, shadow):
        register(service.ledger, "shop", release_id, digest(release_id), acts[1])
        to_shadow(service.ledger, "shop", release_id, acts[1])
        if release_id == champion:
            to_champion(service.ledger, "shop", release_id, acts[1])
    with service:
        sent = [EventMessage(f"e-{number}", "p-1", "purchase", now - number * HOUR_US, {"amount_micros": 5}) for number in range(3)]
        service.accept_events("shop", sent)
        service.accept_events("shop", [EventMessage("bad", "p-2", "purchase", now, {"amount_micros": HOSTILE})])
        decisions = tuple(service.decide("shop", f"p-{number}", {"cart": 1}, f"d-{number}").decision_id for number in range(12))
    write(stores.layout, _measures(champion, former, shadow, now))
    owner_key(stores.layout)
    return Place(stores.settings, champion, former, shadow, decisions)


def _measures(champion: str, former: str, shadow: str, now_us: int) -> Measures:
    gain = Interval(0.06, 0.02, 0.1)
    measured = UseCaseMeasures(
        unit="dollars",
        arms=(
            ArmMeasure("control", former, 400, 90, Interval(0.2, 0.15, 0.25), None),
            ArmMeasure("champion", champion, 1_600, 350, Interval(0.26, 0.23, 0.29), gain),
            ArmMeasure("champion", former, 900, 200, Interval(0.21, 0.1, None), Interval(0.01, None, None)),
        ),
        forecasts=(Forecast(champion, Interval(0.31, 0.22, 0.4)),),
        skew=SkewMeasure(2_000, 3, {"cart": 3}),
        tables={
            "events": TableMeasure(12_345, now_us - HOUR_US),
            "decisions": TableMeasure(2_900, now_us),
            "quarantine": TableMeasure(0, None),
        },
        unmatured=120,
        experiments=(
            ExperimentMeasure("challenger", shadow, gain, "keep running", f"not enough yet {HOSTILE}", 0.4, 0.35, {"refunds": "held"}),
            ExperimentMeasure("challenger_b", former, None, "stop", "a guard rail", 1e-9, None, {"engagement": "breached"}),
        ),
        shadow=ShadowMeasure(shadow, Interval(0.03, -0.01, 0.07), 0.8),
        control_ratio=0.5,
    )
    return Measures(now_us, now_us / 1e6, {"shop": measured})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The installation that tests copy."""
    return _make(tmp_path_factory.mktemp("console") / "state")


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """An installation of this test alone."""
    shutil.copytree(made.settings.folder, tmp_path / "state")
    return replace(made, settings=msgspec.structs.replace(made.settings, state=str(tmp_path / "state")))


@pytest.fixture
def office(place: Place) -> Iterator[Office]:
    """It, opened."""
    with Office(place.settings, USE_CASES) as opened:
        yield opened


@pytest.fixture
def browser_of(office: Office) -> Iterator[Callable[[], TestClient]]:
    """Makes clients of its console, each with cookies of its own; redirects are not followed."""

    async def at_once(seconds: float) -> None:
        del seconds

    app = build(office, sleep=at_once)
    opened: list[TestClient] = []

    def make() -> TestClient:
        opened.append(TestClient(app, "http://console", follow_redirects=False, raise_server_exceptions=True))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def ada(place: Place, browser_of: Callable[[], TestClient]) -> TestClient:
    """An approver who may act, signed in."""
    return sign_in(browser_of(), place.key("ada"))


@pytest.fixture
def vera(place: Place, browser_of: Callable[[], TestClient]) -> TestClient:
    """Somebody who may look, signed in."""
    return sign_in(browser_of(), place.key("vera", Scope.VIEW))


def sign_in(client: TestClient, key: str) -> TestClient:
    """Sign in as a person does, by the form."""
    answer = send(client, "/console/sign-in", key=key)
    assert answer.status_code == 303, answer.text
    return client


def send(client: TestClient, path: str, **fields: str) -> httpx.Response:
    """Load a page and send its form with these fields, and all it hides."""
    page = client.get(path)
    answer: httpx.Response = client.post(path, data=hidden(page.text) | fields)
    return answer


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the form in the page's content."""
    fields = _Fields()
    fields.feed(page)
    return fields.found


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden":
            self.found[given.get("name") or ""] = given.get("value") or ""
