import math

import pytest

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.errors import DefinitionError
from contracts.events import EventSchema, EventType, FieldType
from features.definitions import Aggregate, Attribute, Derived, Entity, Feature, FeatureSet, Request, Where, Window, hop_us, window_start
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
        (((COUNT,),), r"holds \(Aggregate\(.*, which is no feature. Put a star"),
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
        ((Request(name="hour", field="hour"), Derived(name="d", expression=col("hours") + 1)), "Did you mean `hour`"),
        ((Request(name="hour", field="hour", categories=("a", " ")),), "blank category"),
        ((Request(name="hour", field="hour", tags=("Very Personal",)),), "has a tag 'Very Personal'"),
        ((Attribute(name="level", source="profile", field="level", fallback="last"),), "Say max_age_us"),
        ((Attribute(name="level", source="profile", field="level", max_age_us=0),), "max_age_us of 0"),
        ((Attribute(name="level", source="profile", field="level", max_age_us=1.5),), "max_age_us is of the wrong kind"),  # type: ignore[arg-type]
        ((Aggregate(name="n", source="purchase", aggregate="cuont", window_us=1),), "Invalid enum value 'cuont'"),  # type: ignore[arg-type]
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


def test_words_are_no_part_of_the_meaning() -> None:
    plain = Attribute(name="country", source="profile", field="country", categories=("de",))
    worded = Attribute(
        name="country", source="profile", field="country", categories=("de",), description="Where.", owner="crm", unit="code", tags=("pii",)
    )
    other = Attribute(name="country", source="profile", field="country", categories=("de",), max_age_us=1, fallback="last")
    digests = [FeatureSet("any", (feature,)).digest for feature in (plain, worded, other)]
    assert digests[0] == digests[1] != digests[2]
    assert FeatureSet("any", (plain,), Entity("player", "Who plays.")).digest == digests[0]


def test_where_a_feature_was_written_is_no_part_of_it() -> None:
    here, there = (
        Request(name="hour", field="hour"),
        Request(name="hour", field="hour"),
    )
    again = FeatureSet.from_json(FeatureSet("any", (here,)).to_json()).features[0]
    assert here.written_at.startswith("tests/features/test_definitions.py:") and here.written_at != there.written_at
    assert here == there == again and hash(here) == hash(there) and again.written_at == ""


def test_a_set_that_was_written_before_there_were_tags_and_entities_is_read() -> None:
    old = b'{"name": "shop", "features": [{"kind": "attribute", "name": "level", "source": "profile", "field": "level", "default": null}]}'
    again = FeatureSet.from_json(old)
    assert again.entity == Entity() and again.features[0].tags == () and math.isnan(again.features[0].default)


def test_a_wrong_feature_of_a_bundle_has_no_line() -> None:
    with pytest.raises(DefinitionError, match=r"^feature `Hour` of shop: "):
        FeatureSet.from_json(b'{"name": "shop", "features": [{"kind": "request", "name": "Hour", "field": "hour"}]}')
