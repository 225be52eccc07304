"""Where features come from, and what is made of them: fields of sources, features, derived features, the set."""

from typing import Literal, TypeAlias

import msgspec

from features.definitions import Aggregate, Attribute, Derived, Feature, FeatureSet, Request
from features.expressions import columns

NodeKind: TypeAlias = Literal["source", "field", "feature", "derived", "feature set", "release"]

REQUEST = "request"
"""The source of features that the caller sends along."""


class Origin(msgspec.Struct, frozen=True, order=True):
    """A source that a feature reads, and the field; none where only the events count."""

    source: str
    field: str = ""


class Node(msgspec.Struct, frozen=True):
    """One thing of the graph; its name is unique within its kind."""

    kind: NodeKind
    name: str


class Edge(msgspec.Struct, frozen=True):
    """What goes into what."""

    start: Node
    end: Node


def origins(feature: Feature) -> tuple[Origin, ...]:
    """What a feature reads itself, the fields of its conditions included; nothing for a derived one."""
    match feature:
        case Aggregate(source=source, field=field, where=where):
            named = dict.fromkeys([field] if field else [""])
            return tuple(Origin(source, name) for name in named | dict.fromkeys(condition.field for condition in where))
        case Attribute(source=source, field=field):
            return (Origin(source, field),)
        case Request(field=field):
            return (Origin(REQUEST, field),)
        case Derived():
            return ()


def inputs(feature_set: FeatureSet, feature: Feature) -> tuple[Origin, ...]:
    """Everything a feature is made of in the end, also by way of others."""
    found = dict.fromkeys(origins(feature))
    for name in parents(feature):
        found |= dict.fromkeys(inputs(feature_set, feature_set.features[feature_set.names.index(name)]))
    return tuple(found)


def parents(feature: Feature) -> tuple[str, ...]:
    """Names of the features that a derived feature reads."""
    return columns(feature.expression) if isinstance(feature, Derived) else ()


def readers(feature_set: FeatureSet, name: str) -> tuple[str, ...]:
    """Names of the derived features that read a feature."""
    return tuple(feature.name for feature in feature_set.features if name in parents(feature))


def lineage(feature_set: FeatureSet) -> tuple[Edge, ...]:
    """The whole graph, from sources to the set, each edge once."""
    nodes = {feature.name: Node("derived" if isinstance(feature, Derived) else "feature", feature.name) for feature in feature_set.features}
    edges: dict[Edge, None] = {}
    for feature in feature_set.features:
        node = nodes[feature.name]
        for origin in origins(feature):
            source = Node("source", origin.source)
            if origin.field:
                field = Node("field", f"{origin.source}.{origin.field}")
                edges |= {Edge(source, field): None, Edge(field, node): None}
            else:
                edges[Edge(source, node)] = None
        for name in parents(feature):
            edges[Edge(nodes[name], node)] = None
        edges[Edge(node, Node("feature set", feature_set.name))] = None
    return tuple(edges)
