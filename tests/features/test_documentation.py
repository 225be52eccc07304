import math
from pathlib import Path

import msgspec
import pytest

from contracts.clock import DAY_US
from features.definitions import Aggregate, Attribute, Derived, Entity, FeatureSet, Request, Where, Window
from features.documentation import HEADINGS, default_of, duration, page, render, rows, type_of, when_stale
from features.expressions import bucket, case, coalesce, col
from use_cases.definition import load

FEATURES = FeatureSet(
    "shop",
    (
        Aggregate(
            name="spent",
            source="purchase",
            aggregate="sum",
            field="amount",
            window_us=Window.days(7),
            where=(Where("product", "in", ("a",)),),
            unit="µ$",
            owner="shop",
            description="money | spent",
        ),
        Attribute(
            name="level", source="profile", field="level", max_age_us=DAY_US, default=1.5, fallback="last", owner="crm", tags=("pii", "vip")
        ),
        Request(name="hour", field="hour"),
        Derived(name="d", expression=case(col("hour") >= 3, coalesce(col("spent") / col("level"), 0.5), bucket(col("hour"), (1, 2)))),
    ),
)


def test_rows_say_what_features_mean() -> None:
    assert [row[1] for row in rows(FEATURES)] == [
        "sum of purchase.amount over 7 d where product in ('a',)",
        "latest profile.level",
        "hour of the request",
        "case((hour >= 3), coalesce((spent / level), 0.5), bucket(hour, [1, 2]))",
    ]
    assert rows(FEATURES)[1] == (
        "level",
        "latest profile.level",
        "number",
        "1.5",
        "1 d",
        "the last value as it is",
        "",
        "crm",
        "pii, vip",
        "",
    )


def test_table_has_a_line_a_feature() -> None:
    lines = render(FEATURES).splitlines()
    assert lines[0] == f"shop ({FEATURES.digest[:16]})"
    assert lines[2] == f"| {' | '.join(HEADINGS)} |"
    assert lines[4].endswith("| µ$ | shop |  | money \\| spent |")
    assert len(lines) == 8


def test_duration_has_the_largest_whole_unit() -> None:
    assert [duration(length) for length in (Window.minutes(90), Window.minutes(60), 3_000_000, 7)] == ["90 min", "1 h", "3 s", "7 µs"]


def test_columns_that_say_nothing_are_left_out() -> None:
    assert render(FeatureSet("one", (Request(name="hour", field="hour"),))).splitlines()[2] == "| feature | meaning | type | default |"


def test_defaults_are_said_as_what_they_mean() -> None:
    plain = Attribute(name="country", source="profile", field="country", categories=("de", "us"), max_age_us=DAY_US)
    defaults = (-1.0, 1.0, math.nan, 7.0, 0.5)
    said = [default_of(msgspec.structs.replace(plain, default=default)) for default in defaults]
    assert said == ["unknown", "us", "absent", "7", "0.5"]
    assert (type_of(plain), when_stale(plain)) == ("one of 2", "its default")
    assert when_stale(msgspec.structs.replace(plain, fallback="refuse")) == "no decision"


def test_a_page_says_whom_what_and_where_from() -> None:
    shop = FeatureSet(
        "shop",
        (*FEATURES.features, Attribute(name="country", source="profile", field="country", categories=("de", "us"))),
        Entity("customer"),
    )
    text = page("shop", "What to show", shop)
    assert "What to show. Each row is of a customer." in text
    assert "| country | 0 de, 1 us |" in text
    assert "| purchase | amount, product | spent, d |" in text
    assert "| profile | country, level | level, d, country |" in text
    assert "| request | hour | hour, d |" in text


@pytest.mark.parametrize("name", ["game_promotion", "email_promotion"])
def test_the_pages_of_this_repository_are_up_to_date(repository: Path, name: str) -> None:
    use_case = load(name)
    mend = f"offerloop features docs {name} --out docs/features/{name}.md"
    assert (repository / f"docs/features/{name}.md").read_text() == page(name, use_case.title, use_case.feature_set), mend
