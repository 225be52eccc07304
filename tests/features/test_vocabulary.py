"""What the short way of writing features builds."""

import doctest
import math
from collections.abc import Callable

import pytest

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.errors import DefinitionError
from features import vocabulary
from features.definitions import Aggregate, Attribute, Derived, Entity, Request, Where
from features.expressions import bucket, col
from features.vocabulary import attributes, derived, events, feature_set, request

PURCHASES = events("purchase")


def test_several_windows_in_one_line_are_a_feature_each() -> None:
    assert PURCHASES.sum("amount", days=(1, 7), hours=3, minutes=[5], unit="cents", tags=["money"]) == tuple(
        Aggregate(
            name=f"purchase_amount_sum_{name}",
            source="purchase",
            aggregate="sum",
            field="amount",
            window_us=length,
            unit="cents",
            tags=("money",),
        )
        for name, length in (("1d", DAY_US), ("7d", 7 * DAY_US), ("3h", 3 * HOUR_US), ("5min", 5 * MINUTE_US))
    )


def test_there_is_a_method_for_every_aggregate() -> None:
    of_field = [getattr(PURCHASES, name)("amount", days=1) for name in ("sum", "mean", "min", "max", "first", "last", "distinct")]
    made = [PURCHASES.count(days=1), PURCHASES.seconds_since_last(days=1), *of_field]
    assert [feature.name for (feature,) in made] == [
        "purchase_count_1d",
        "purchase_seconds_since_last_1d",
        *(f"purchase_amount_{name}_1d" for name in ("sum", "mean", "min", "max", "first", "last", "distinct")),
    ]
    assert {feature.aggregate for (feature,) in made} == set(vocabulary.AggregateKind.__args__)  # type: ignore[attr-defined]
    feature_set("all", *made)


def test_defaults_fit_what_is_counted() -> None:
    assert PURCHASES.count(days=1)[0].default == 0.0
    assert PURCHASES.seconds_since_last(days=2)[0].default == 172_800.0
    assert PURCHASES.seconds_since_last(days=2, default=math.inf)[0].default == math.inf
    assert PURCHASES.last("product", days=1, categories=("a",))[0].default == -1.0
    assert attributes("profile").text("country", ["de"], default=0.0).default == 0.0


def test_conditions_add_up_and_leave_the_source_as_it_is() -> None:
    gifts = PURCHASES.where("gift", "==", True, name="gift")
    (feature,) = gifts.where("amount", ">", 5).count(days=1)
    assert (feature.name, feature.source) == ("gift_count_1d", "purchase")
    assert feature.where == (Where("gift", "==", True), Where("amount", ">", 5))
    assert PURCHASES.conditions == () and gifts.conditions == (Where("gift", "==", True),)


def test_a_set_is_made_of_single_features_and_of_several() -> None:
    shop = feature_set(
        "shop",
        PURCHASES.count(days=(1, 7), name="{source}s_{window}"),
        attributes("profile").number("level", name="grade", max_age_us=DAY_US, fallback="last", owner="crm"),
        request("hour"),
        derived("late", bucket(col("hour"), (22,)), description="After ten."),
        *PURCHASES.distinct("product", days=28),
        entity=Entity("customer", "Who buys."),
    )
    assert shop.names == ("purchases_1d", "purchases_7d", "grade", "hour", "late", "purchase_product_distinct_28d")
    assert shop.features[2:5] == (
        Attribute(name="grade", source="profile", field="level", max_age_us=DAY_US, fallback="last", owner="crm"),
        Request(name="hour", field="hour"),
        Derived(name="late", expression=bucket(col("hour"), (22,)), description="After ten."),
    )
    assert shop.entity.name == "customer"


@pytest.mark.parametrize(
    "write, said",
    [
        (lambda: PURCHASES.count(), "no window. Say days=, hours= or minutes="),
        (lambda: PURCHASES.count(days=0), "days=0 is no length"),
        (lambda: PURCHASES.count(hours=(1, True)), "hours=True is no length"),
        (lambda: PURCHASES.count(days=(1, 2), name="purchases"), "Put {window} into the name"),
        (lambda: PURCHASES.count(days=1, name="{sauce}"), "Only {source}, {field}, {aggregate}, {window} can stand in it"),
        (lambda: PURCHASES.count(day=1), "Say days="),  # type: ignore[call-arg]
        (lambda: PURCHASES.count(days=1, tag="pii"), "Did you mean `tags`?"),  # type: ignore[call-arg]
        (lambda: request("hour", max_age_us=1), "`max_age_us` of feature `hour`"),  # type: ignore[call-arg]
        (lambda: derived("d", col("a") + "1"), "'1' is no operand"),  # type: ignore[operator]
    ],
)
def test_a_slip_is_named_with_its_line(write: Callable[[], object], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        write()
    assert said in str(caught.value)
    assert str(caught.value).startswith("tests/features/test_vocabulary.py:")


def test_its_examples_hold() -> None:
    assert doctest.testmod(vocabulary).failed == 0
