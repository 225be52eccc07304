"""What the month of simulated traffic is decided by: the game's own features, every other kind beside them, and later half of that."""

from typing import Any

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from features.definitions import Aggregate, Attribute, Derived, Feature, FeatureSet, Request, Where, Window
from features.expressions import bucket, case, coalesce, col
from use_cases.game_promotion import USE_CASE
from use_cases.game_promotion.events import COUNTRIES, MODES

REFUND = (Where("amount_micros", "<", 0),)
PROMOTED = (Where("product_set", "!=", "shop"), Where("amount_micros", ">", 0))


def spent(name: str, kind: Any, window_us: int, **more: Any) -> Aggregate:
    """An aggregate of the amounts of purchases."""
    return Aggregate(name=name, source="purchase", aggregate=kind, field="amount_micros", window_us=window_us, **more)


MORE: tuple[Feature, ...] = (
    spent("spend_11h", "sum", Window.hours(11)),
    spent("spend_mean_36h", "mean", Window.hours(36), default=-1.0),
    spent("least_12d", "min", Window.days(12), default=float("nan")),
    spent("first_13d", "first", Window.days(13), max_age_us=DAY_US, default=-2.0),
    spent("last_5d", "last", Window.days(5), max_age_us=3 * HOUR_US, fallback="last"),
    spent("amounts_28d", "distinct", Window.days(28), where=PROMOTED),
    Aggregate(name="refunds_14d", source="purchase", aggregate="count", window_us=Window.days(14), where=REFUND),
    Aggregate(name="wins_3d", source="match", aggregate="sum", field="won", window_us=Window.days(3)),
    Aggregate(name="won_first_1d", source="match", aggregate="first", field="won", window_us=Window.days(1), default=-1.0),
    Aggregate(
        name="mode_now", source="match", aggregate="last", field="mode", window_us=Window.minutes(245), categories=MODES[:4], default=-3.0
    ),
    Aggregate(name="modes_7d", source="match", aggregate="distinct", field="mode", window_us=Window.days(7), max_age_us=12 * HOUR_US),
    Aggregate(name="sessions_5m", source="session", aggregate="count", window_us=Window.minutes(5)),
    Aggregate(name="seconds_since_decision", source="decision", aggregate="seconds_since_last", window_us=Window.days(2), default=-1.0),
    Aggregate(name="arms_9d", source="decision", aggregate="distinct", field="arm", window_us=Window.days(9)),
    Aggregate(name="reward_6d", source="outcome", aggregate="sum", field="reward", window_us=Window.days(6)),
    Aggregate(name="worst_20d", source="outcome", aggregate="min", field="reward", window_us=Window.days(20) + MINUTE_US),
    Attribute(name="country_now", source="profile", field="country", categories=COUNTRIES, max_age_us=6 * DAY_US, default=-4.0),
    Request(name="battery", field="battery", default=-1.0),
    Request(name="screen", field="screen", categories=("shop", "map")),
    Derived(name="spend_each", expression=col("reward_6d") / col("sessions_7d"), default=-5.0),
    Derived(name="pace", expression=coalesce(col("least_12d"), col("battery") * 0.1) + col("seconds_since_match") / 3600.0),
    Derived(name="mood", expression=bucket(col("pace") - col("wins_3d"), (-2.0, 0.5, 24.0, 1e6))),
    Derived(name="calm", expression=case(col("mood") > col("screen"), col("spend_each") * col("share_calm"), col("mode_now")), default=7.0),
)

FIRST = FeatureSet("month_first", (*USE_CASE.feature_set.features, *MORE))
"""What decides in the first half."""

SECOND = FeatureSet("month_second", (*USE_CASE.feature_set.features, *MORE[3:9], spent("spend_10h", "sum", Window.hours(10))))
"""What decides in the second half: another set, which needs nothing that was not kept before."""
