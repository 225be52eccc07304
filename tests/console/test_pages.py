"""What single pages say."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from contracts.clock import HOUR_US
from releases.ledger import Act
from releases.stages import to_challenger
from serving.console.desk import Office
from serving.console.traffic import time_line
from serving.console.words import interval, percent
from storage.measures import Interval
from storage.rollouts import CanaryMeasure, LimitMeasure, RolloutMeasure, write_rollouts

from .conftest import Place, sign_in

OF = "/console/use-cases/shop"


def test_the_time_line_says_who_had_which_share_when(place: Place, office: Office) -> None:
    line = time_line(list(office.rows("shop")), office.clock.now_us())
    assert line is not None
    now, first = line.periods[0], line.periods[-1]
    assert [(held.arm, held.share) for held in now.held] == [("control", 0.2), ("champion", 0.8)]
    assert {held.release_id for held in now.held} == {place.champion}
    assert first.held[1].release_id == place.former and now.to_us is None
    assert [earlier.to_us for earlier in line.periods[1:]] == [later.from_us for later in line.periods[:-1]]
    assert time_line([], 0) is None


def test_a_decision_is_explained_and_computed_again(place: Place, vera: TestClient) -> None:
    page = vera.get(f"/console/decisions?id={place.decisions[3]}").text
    assert "equal to the last bit" in page and "purchases_7d" in page
    assert "Not eligible" in page and "boost" in page


def test_an_unknown_decision_is_told_with_what_may_be_the_reason(vera: TestClient) -> None:
    answer = vera.get("/console/decisions?id=d-unknown")
    assert answer.status_code == 404 and "store.idempotency_days" in answer.text


def test_quarantine_is_shown_with_its_reason(vera: TestClient) -> None:
    page = vera.get(f"{OF}/data").text
    assert "amount_micros" in page and "12,345" in page


def test_the_canary_is_shown_with_its_guard_rails_while_it_answers(place: Place, office: Office, vera: TestClient) -> None:
    limit = LimitMeasure("failed", 0.02, 0.0, 0.01, 0.005, True, "2% of its decisions failed, at most 0.5% may")
    canary = CanaryMeasure(place.shadow, 0.05, 1, 2, 0, HOUR_US, 30, 200, 1, 0, (limit,))
    write_rollouts(place.layout, {"shop": RolloutMeasure(canary, ())})
    assert "2% of its decisions failed" not in vera.get(f"{OF}/experiments").text
    to_challenger(office.ledger, "shop", place.shadow, 0.05, Act("ada", office.clock.now_us(), "go on"), "canary")
    page = vera.get(f"{OF}/experiments").text
    assert "step 1 of 2" in page and "2% of its decisions failed" in page
    assert "1 of 2, 30 of 200 decisions" in vera.get("/console/").text


def test_what_is_wrong_stands_on_the_overview_first(vera: TestClient) -> None:
    page = vera.get("/console/").text
    assert page.index("breaks guard rails") < page.index("waits for a sign-off by ada or grace")


def test_filters_of_the_ledger_keep_what_fits(place: Place, vera: TestClient) -> None:
    page = vera.get("/console/ledger", params={"release": place.former}).text
    assert "the first release" in page and "looks better" not in page
    assert "No row fits" in vera.get("/console/ledger?action=approve").text


def test_two_equal_releases_have_nothing_that_differs(place: Place, vera: TestClient) -> None:
    assert "Nothing differs" in vera.get(f"{OF}/diff", params={"before": place.former, "after": place.former}).text


def test_pictures_are_the_use_cases_own_and_may_run_nothing(place: Place, browser_of: Callable[[], TestClient], vera: TestClient) -> None:
    assert browser_of().get("/console/pictures/shop/a.svg").status_code == 401
    for name in ("nothing.svg", "..%2fcatalogue.py", "a.png"):
        assert vera.get(f"/console/pictures/shop/{name}").status_code == 404
    assert vera.get("/console/pictures/elsewhere/a.svg").status_code == 404
    assert sign_in(browser_of(), place.key("ada"))


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (Interval(0.31, 0.22, 0.4), "0.31 [0.22, 0.40]"),
        (Interval(-0.004, -0.0061, -0.002), "−0.0040 [−0.0061, −0.0020]"),
        (Interval(12_345.6, 11_000.0, 13_000.0), "12,346 [11,000, 13,000]"),
        (Interval(0.0, 0.0, 0.0), "0 [0, 0]"),
        (Interval(float("nan"), None, float("inf")), "– [–, –]"),
    ],
)
def test_figures_have_as_many_decimals_as_their_interval_has_use_for(spread: Interval, text: str) -> None:
    assert interval(spread) == text


@pytest.mark.parametrize(("share", "text"), [(0.0, "0%"), (1.0, "100%"), (0.8 * 0.05, "4%"), (0.123, "12%"), (0.0123, "1.2%"), (None, "–")])
def test_shares_are_told_as_percent(share: float | None, text: str) -> None:
    assert percent(share) == text
