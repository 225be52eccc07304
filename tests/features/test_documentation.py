from contracts.clock import DAY_US
from features.definitions import Aggregate, Attribute, Derived, FeatureSet, Request, Where, Window
from features.documentation import HEADINGS, duration, render, rows
from features.expressions import bucket, case, coalesce, col

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
        Attribute(name="level", source="profile", field="level", max_age_us=DAY_US, default=1.5),
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
    assert rows(FEATURES)[1] == ("level", "latest profile.level", "1.5", "1 d", "", "", "")


def test_table_has_a_line_a_feature() -> None:
    lines = render(FEATURES).splitlines()
    assert lines[0] == f"shop ({FEATURES.digest[:16]})"
    assert lines[2] == f"| {' | '.join(HEADINGS)} |"
    assert lines[4].endswith("| µ$ | shop | money \\| spent |")
    assert len(lines) == 8


def test_duration_has_the_largest_whole_unit() -> None:
    assert [duration(length) for length in (Window.minutes(90), Window.minutes(60), 3_000_000, 7)] == ["90 min", "1 h", "3 s", "7 µs"]
