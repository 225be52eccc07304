"""What each arm earned, what was foreseen, skew and freshness, from tables that can be checked by eye."""

import math

import pytest

from contracts.clock import DAY_US
from monitoring.measure import _forecast, measure
from releases.ledger import Act, Ledger
from releases.stages import start
from storage.layout import Layout
from storage.measures import ArmMeasure, Interval, Measures, UseCaseMeasures, read, write
from tests.monitoring.conftest import NOON, Shop
from use_cases.definition import UseCase

NOW = 2 * DAY_US + NOON + 1


@pytest.fixture
def measured(busy: Shop, layout: Layout, shop: UseCase, ledger: Ledger) -> UseCaseMeasures:
    return measure(layout, {"shop": shop}, ledger, NOW).use_cases["shop"]


def arm(measured: UseCaseMeasures, name: str, release: str = "r-1") -> ArmMeasure:
    (found,) = [arm for arm in measured.arms if (arm.arm, arm.release_id) == (name, release)]
    return found


def test_matured_decisions_make_the_reward_of_an_arm(measured: UseCaseMeasures) -> None:
    champion = arm(measured, "champion")
    assert (champion.decisions, champion.entities, measured.unmatured) == (3, 3, 1)
    assert champion.reward.value == pytest.approx(2.0)
    assert champion.reward.low is not None
    assert champion.reward.high is not None
    assert champion.reward.low < 2.0 < champion.reward.high


def test_gain_is_against_the_control_of_the_same_time(measured: UseCaseMeasures) -> None:
    champion, control = arm(measured, "champion"), arm(measured, "control")
    assert control.reward.value == pytest.approx(0.5)
    assert control.gain is None
    assert champion.gain is not None
    assert champion.gain.value == pytest.approx(1.5)
    assert arm(measured, "control", "r-0").reward == Interval(900.0, None, None)


def test_features_as_logged_are_those_recomputed(measured: UseCaseMeasures) -> None:
    assert (measured.skew.checked, measured.skew.differing, measured.skew.features) == (7, 0, {})


def test_a_feature_that_was_logged_wrongly_is_counted(shop_log: Shop, layout: Layout, shop: UseCase, ledger: Ledger) -> None:
    journal = shop_log.open()
    shop_log.decision(journal, "anna", NOON, "champion", purchases=0.0)
    shop_log.decision(journal, "bert", NOON, "champion", purchases=math.nextafter(0.0, 1.0))
    shop_log.drain(journal)
    journal.close()
    skew = measure(layout, {"shop": shop}, ledger, NOW).use_cases["shop"].skew
    assert (skew.checked, skew.differing, skew.features) == (2, 1, {"purchases": 1})


def test_tables_say_how_many_rows_and_how_new(measured: UseCaseMeasures) -> None:
    assert {name: table.rows for name, table in measured.tables.items()} == {"events": 12, "decisions": 7, "outcomes": 4, "quarantine": 1}
    assert measured.tables["decisions"].newest_us == 2 * DAY_US + NOON
    assert measured.tables["quarantine"].newest_us == NOON


def test_an_empty_installation_is_measured_too(layout: Layout, shop: UseCase, ledger: Ledger) -> None:
    layout.root.mkdir(exist_ok=True)
    empty = measure(layout, {"shop": shop}, ledger, NOW).use_cases["shop"]
    assert (empty.arms, empty.forecasts, empty.unmatured, empty.skew.checked) == ((), (), 0, 0)
    assert all(table.newest_us is None for table in empty.tables.values())


def test_a_bundle_that_cannot_be_read_has_no_forecast(busy: Shop, layout: Layout, shop: UseCase, ledger: Ledger) -> None:
    start(ledger, "shop", "r-0000000000000001", "ab" * 32, 0.1, Act("test", 0, "for the test"))
    assert measure(layout, {"shop": shop}, ledger, NOW).use_cases["shop"].forecasts == ()


def test_a_forecast_is_what_the_gate_wrote() -> None:
    judged = {"passed": True, "forecast": {"value": 2.0, "low": 1.0, "high": None, "n": 7}}
    assert _forecast(judged) == Interval(2.0, 1.0, None)
    assert _forecast({"passed": True}) is None


def test_measurements_are_kept_whole(layout: Layout, measured: UseCaseMeasures) -> None:
    assert read(Layout(layout.root / "nowhere")) is None
    measures = Measures(NOW, 1.5, {"shop": measured})
    write(layout, measures)
    assert read(layout) == measures
