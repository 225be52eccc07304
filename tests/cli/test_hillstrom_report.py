"""The report on the real promotion: raw means as they are, and the replay's arithmetic."""

import polars as pl
import pytest

from cli.demo.hillstrom import Replayed
from cli.demo.hillstrom_report import report
from cli.demo.stage import Timed

CUSTOMERS = pl.DataFrame(
    {
        "action": ["mens", "mens", "womens", "womens", "none", "none"] * 50,
        "visit": [True, False, True, False, False, False] * 50,
        "spend_micros": [6_000_000, 0, 3_000_000, 0, 1_000_000, 0] * 50,
    }
)


def replayed(answer: str, released: bool = True) -> Replayed:
    later = CUSTOMERS.with_columns(answer=pl.lit(answer), arm=pl.lit("champion"))
    return Replayed(7, CUSTOMERS, later, "r-1", released, ("men's e-mail is best",))


def test_the_raw_means_are_the_datas() -> None:
    table = report(replayed("mens"), [Timed("all", 1.0)]).sections[0].table
    assert table is not None
    assert [row[2] for row in table.rows] == ["3.0000", "1.5000", "0.5000"]


def test_a_policy_that_sends_one_email_to_all_is_worth_what_that_email_is() -> None:
    made = report(replayed("mens"), [Timed("all", 1.0)])
    table = made.sections[2].table
    assert table is not None
    policy, mens, womens, _ = table.rows
    assert policy[2] == mens[2] == "3.0000"
    assert float(mens[4]) == 0.0
    assert float(womens[4]) == pytest.approx(1.5)
    assert made.holds and "mostly men's e-mail" in made.verdict


def test_nothing_released_is_said() -> None:
    made = report(replayed("none", released=False), [Timed("all", 1.0)])
    assert not made.holds and "nothing learned" in made.verdict
