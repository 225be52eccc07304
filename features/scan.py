"""What must be read of each event type to compute a feature set: fields, stamps, and from when to when."""

from dataclasses import dataclass

from contracts.events import EventSchema, FieldType
from features.definitions import Aggregate, Attribute, FeatureSet, hop_us


@dataclass(frozen=True, slots=True)
class Scan:
    """What is read of one event type.

    Attributes:
        source: the type.
        features: that read it.
        fields: that they read, each once. `texts`: those whose values are texts.
        stamps: columns by which rows see events, `ingested_time` or `seq` or both.
        ordered: whether the order of events at one time matters.
        since_us: earliest event time that any row covers; none where the latest row counts, however old.
        until_us: latest event time that any row covers; none for all.
    """

    source: str
    features: tuple[Aggregate | Attribute, ...]
    fields: tuple[str, ...]
    texts: frozenset[str]
    stamps: tuple[str, ...]
    ordered: bool
    since_us: int | None
    until_us: int | None


def scans(feature_set: FeatureSet, schema: EventSchema, first_us: int, last_us: int, *, by_clock: bool, by_seq: bool) -> list[Scan]:
    """What to read of each source of a feature set.

    Args:
        feature_set: checked against the schema.
        schema: of the events.
        first_us: earliest moment of any row. `last_us`: the latest.
        by_clock: some row sees what was ingested by its moment. `by_seq`: some row sees events up to its `seen_seq`.
    """
    found = []
    for source in feature_set.sources:
        features = tuple(one for one in feature_set.features if isinstance(one, (Aggregate, Attribute)) and one.source == source)
        aggregates = [feature for feature in features if isinstance(feature, Aggregate)]
        named = [feature.field for feature in features if feature.field is not None]
        fields = tuple(dict.fromkeys([*named, *(condition.field for feature in aggregates for condition in feature.where)]))
        ordered = len(aggregates) < len(features) or any(feature.aggregate in ("first", "last") for feature in aggregates)
        # why: events at one time are told apart by their `seq`
        judged = {"ingested_time": by_clock, "seq": by_seq or ordered}
        longest = max((feature.window_us + hop_us(feature.window_us) for feature in aggregates), default=0)
        found.append(
            Scan(
                source=source,
                features=features,
                fields=fields,
                texts=frozenset(field for field in fields if schema.types[source].fields[field] is FieldType.STR),
                stamps=tuple(name for name, needed in judged.items() if needed),
                ordered=ordered,
                since_us=None if len(aggregates) < len(features) else first_us - longest,
                until_us=last_us,
            )
        )
    return found


def whole(source: str, schema: EventSchema) -> Scan:
    """All there is of one event type, for whatever features may be asked for."""
    fields = schema.types[source].fields
    texts = frozenset(name for name, kind in fields.items() if kind is FieldType.STR)
    return Scan(source, (), tuple(fields), texts, ("ingested_time", "seq"), ordered=True, since_us=None, until_us=None)
