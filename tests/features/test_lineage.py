"""What is made of what."""

from features.definitions import Aggregate, Attribute, Derived, FeatureSet, Request, Where, Window
from features.expressions import col
from features.lineage import Edge, Node, Origin, inputs, lineage, origins, parents, readers

FEATURES = FeatureSet(
    "shop",
    (
        Aggregate(
            name="spent", source="purchase", aggregate="sum", field="amount", window_us=Window.days(7), where=(Where("gift", "==", True),)
        ),
        Aggregate(name="purchases", source="purchase", aggregate="count", window_us=Window.days(7)),
        Attribute(name="level", source="profile", field="level"),
        Request(name="hour", field="clock"),
        Derived(name="mean", expression=col("spent") / col("purchases")),
        Derived(name="odd", expression=col("mean") * col("hour")),
    ),
)
SPENT, PURCHASES, LEVEL, HOUR, MEAN, ODD = FEATURES.features


def test_a_feature_reads_its_field_and_those_of_its_conditions() -> None:
    assert origins(SPENT) == (Origin("purchase", "amount"), Origin("purchase", "gift"))
    assert origins(PURCHASES) == (Origin("purchase"),)
    assert (origins(LEVEL), origins(HOUR), origins(MEAN)) == ((Origin("profile", "level"),), (Origin("request", "clock"),), ())


def test_a_derived_feature_reads_in_the_end_what_its_own_read() -> None:
    assert (parents(ODD), readers(FEATURES, "mean"), readers(FEATURES, "odd")) == (("mean", "hour"), ("odd",), ())
    assert inputs(FEATURES, ODD) == (
        Origin("purchase", "amount"),
        Origin("purchase", "gift"),
        Origin("purchase"),
        Origin("request", "clock"),
    )


def test_the_graph_goes_from_sources_to_the_set_each_edge_once() -> None:
    edges = lineage(FEATURES)
    assert len(set(edges)) == len(edges)
    assert Edge(Node("source", "purchase"), Node("field", "purchase.gift")) in edges
    assert Edge(Node("field", "purchase.gift"), Node("feature", "spent")) in edges
    assert Edge(Node("source", "purchase"), Node("feature", "purchases")) in edges
    assert Edge(Node("derived", "mean"), Node("derived", "odd")) in edges
    ends = {edge.start.name for edge in edges if edge.end == Node("feature set", "shop")}
    assert ends == set(FEATURES.names)
