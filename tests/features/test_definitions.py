import math

import pytest

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.errors import DefinitionError
from contracts.events import EventSchema, EventType, FieldType
from features.definitions import Aggregate, Attribute, Derived, Feature, FeatureSet, Request, Where, Window, hop_us, window_start
from features.expressions import bucket, case, coalesce, col

SCHEMA = EventSchema.build(
    "shop",
    [EventType("purchase", {"amount": FieldType.INT, "product": FieldType.STR}), EventType("profile", {"country": FieldType.STR})],
)
COUNT = Aggregate(name="purchases", source="purchase", aggregate="count", window_us=Window.days(7))
FEATURES = FeatureSet(
    "shop",
    (
        COUNT,
        Aggregate(
            name="spent",
            source="purchase",
            aggregate="sum",
            field="amount",
            window_us=Window.hours(3),
            where=(Where("product", "in", ("a", "b")), Where("amount", ">", 0)),
            default=math.nan,
        ),
        Attribute(name="country", source="profile", field="country", categories=("de", "us"), default=-1, max_age_us=DAY_US),
        Request(name="hour", field="hour"),
        Derived(
            name="ratio",
            expression=case(col("hour") > 12, coalesce(col("spent") / col("purchases"), 1), bucket(col("hour"), (1, 2))),
        ),
    ),
)


@pytest.mark.parametrize(
    ("window", "hop"),
    [
        (MINUTE_US, 5 * MINUTE_US),
        (12 * HOUR_US, 5 * MINUTE_US),
        (12 * HOUR_US + 1, HOUR_US),
        (12 * DAY_US, HOUR_US),
        (12 * DAY_US + 1, DAY_US),
    ],
)
def test_hop_grows_with_the_window(window: int, hop: int) -> None:
    assert hop_us(window) == hop


@pytest.mark.parametrize(
    ("moment", "start"), [(2 * HOUR_US, HOUR_US), (2 * HOUR_US + 1, HOUR_US), (0, -HOUR_US), (-1, -HOUR_US - 5 * MINUTE_US)]
)
def test_window_starts_at_a_hop(moment: int, start: int) -> None:
    assert window_start(moment, Window.hours(1)) == start


def test_set_survives_json() -> None:
    again = FeatureSet.from_json(FEATURES.to_json())
    assert again.digest == FEATURES.digest
    assert again.names == ("purchases", "spent", "country", "hour", "ratio")
    assert again.categorical == ("country",)
    assert again.sources == ("purchase", "profile")
    assert again.to_json() == FEATURES.to_json()
    assert math.isnan(again.features[1].default)


def test_digest_is_of_the_meaning() -> None:
    def digest(**changes: object) -> str:
        plain = {"name": "n", "source": "purchase", "aggregate": "count", "window_us": 1} | changes
        return FeatureSet("any", (Aggregate(**plain),)).digest  # type: ignore[arg-type]

    assert digest() == digest(description="how many", owner="shop", unit="1", default=0) == digest(default=0.0)
    assert len({digest(), digest(default=1), digest(window_us=2), digest(name="m"), digest(max_age_us=1)}) == 5


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"name": "x", "features": [{"kind": "magic", "name": "y"}]}', b'{"name": "x", "features": [1]}']
)
def test_json_of_another_shape_is_refused(content: bytes) -> None:
    with pytest.raises(DefinitionError):
        FeatureSet.from_json(content)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ((), "no features"),
        ((COUNT, COUNT), "no name of its own"),
        ((Request(name="Hour", field="hour"),), "no name of its own"),
        ((Request(name="missing", field="hour"),), "no name of its own"),
        ((Request(name="hour", field='h"'),), "without quotes"),
        ((Request(name="hour", field="hour", default=math.inf),), "infinite"),
        ((Request(name="hour", field="hour", categories=("a", "a")),), "category twice"),
        ((Aggregate(name="n", source="purchase", aggregate="sum", window_us=1),), "others one"),
        ((Aggregate(name="n", source="purchase", aggregate="count", field="amount", window_us=1),), "take none"),
        ((Aggregate(name="n", source="purchase", aggregate="count", window_us=0),), "window of 0"),
        ((Aggregate(name="n", source="purchase", aggregate="sum", field="amount", window_us=1, categories=("a",)),), "Only first and last"),
        ((Derived(name="d", expression=col("e") + 1), Request(name="e", field="e")), "reads e"),
    ],
)
def test_wrong_features_are_named(features: tuple[Feature, ...], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        FeatureSet("shop", features)


def amount(*where: Where, field: str = "amount", source: str = "purchase") -> Aggregate:
    return Aggregate(name="n", source=source, aggregate="sum", field=field, window_us=1, where=where)


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (amount(source="sale"), "no event type `sale`"),
        (amount(field="price"), "no field `price`"),
        (amount(field="product"), "needs categories"),
        (amount(Where("price", "==", 1)), "no field `price`"),
        (amount(Where("product", "==", 1)), "cannot compare"),
        (amount(Where("product", "<", "a")), "cannot compare"),
        (amount(Where("product", "in", "a")), "cannot compare"),
        (amount(Where("product", "in", ())), "cannot compare"),
        (amount(Where("amount", "==", (1, 2))), "cannot compare"),
        (amount(Where("amount", "==", True)), "cannot compare"),
        (amount(Where("amount", "<", 2**63)), "cannot compare"),
        (Attribute(name="country", source="profile", field="country"), "needs categories"),
    ],
)
def test_features_must_fit_the_schema(feature: Feature, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        FeatureSet("shop", (feature,)).check(SCHEMA)


def test_fitting_features_pass() -> None:
    FEATURES.check(SCHEMA)
