"""A feature set as one SQL query, in words that DuckDB and Spark both understand; a dialect says the few that differ.

The query reads two relations. `events` has the columns of the event table. `spine` has `row_key`, `row_id`, `entity_id`, `moment`,
`seen_seq`, and for each feature of the request a DOUBLE `q_<name>`. It gives, for each row of the spine, `row_key`, `row_id`, one DOUBLE a
feature and `missing`, the names of features without a value.

Absent is NULL between the features' stages, and NaN only in a value whose default is NaN.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.clock import DAY_US
from contracts.events import EventSchema, FieldType
from features.definitions import Aggregate, Attribute, Derived, Feature, FeatureSet, Request, Where, hop_us
from features.expressions import Arithmetic, Bucket, Case, Coalesce, Column, Compare, Expression, Number, columns

_KEY = ("event_id", "event_time", "ingested_time", "seq")
_NAN = "CAST('NaN' AS DOUBLE)"
_KNOWN = "CASE WHEN m.seen_seq IS NULL THEN e.ingested_time <= m.moment ELSE e.seq <= m.seen_seq END"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What DuckDB and Spark say differently.

    Attributes:
        name: an identifier, quoted.
        text: a text literal.
        total: from a BIGINT and a condition, the exact sum where it holds as BIGINT, saturating at ±(2⁶³ − 1); NULL over no values.
        order: the pair that orders events, `e.event_time` before `e.event_id`, as one value.
        present: from texts that may be NULL, the list of those that are not.
    """

    name: Callable[[str], str]
    text: Callable[[str], str]
    total: Callable[[str, str], str]
    order: str
    present: Callable[[Sequence[str]], str]


def query(feature_set: FeatureSet, schema: EventSchema, dialect: Dialect, first_us: int, last_us: int) -> str:
    """The query.

    Args:
        feature_set: checked against the schema.
        schema: of the events.
        dialect: of the engine.
        first_us: earliest moment of the spine.
        last_us: latest moment of the spine.
    """
    windows = sorted({feature.window_us for feature in feature_set.features if isinstance(feature, Aggregate)})
    starts = [f"{_start('moment', window)} AS start_{window}" for window in windows]
    parts = [f"m AS (SELECT {', '.join(['*', *starts])} FROM spine)"]
    joins: list[str] = []
    values: dict[str, tuple[str, str]] = {}
    for number, source in enumerate(feature_set.sources):
        names = {field: f"c{position}" for position, field in enumerate(schema.types[source].fields)}
        aggregates = [feature for feature in feature_set.features if isinstance(feature, Aggregate) and feature.source == source]
        attributes = [feature for feature in feature_set.features if isinstance(feature, Attribute) and feature.source == source]
        longest = max((feature.window_us for feature in aggregates), default=0)
        since = None if attributes else first_us - longest - DAY_US
        parts.append(f"e{number} AS ({_events(source, names, schema, dialect, since, last_us)})")
        if aggregates:
            parts.append(f"a{number} AS ({_aggregates(f'e{number}', aggregates, names, dialect, longest)})")
            joins.append(f"LEFT JOIN a{number} ON a{number}.row_key = m.row_key")
        if attributes:
            parts.append(f"r{number} AS ({_latest(f'e{number}', names)})")
            joins.append(f"LEFT JOIN r{number} ON r{number}.row_key = m.row_key")
        values |= {feature.name: _aggregate_value(feature, dialect, f"a{number}") for feature in aggregates}
        values |= {feature.name: _attribute_value(feature, dialect, f"r{number}", names) for feature in attributes}
    given = [feature for feature in feature_set.features if not isinstance(feature, Derived)]
    values |= {feature.name: (f"m.q_{feature.name}", "FALSE") for feature in given if isinstance(feature, Request)}
    picked = [f"{values[f.name][0]} AS v_{f.name}, {values[f.name][1]} AS old_{f.name}" for f in given]
    parts.append(f"v AS (SELECT {', '.join(['m.row_key', 'm.row_id', *picked])} FROM m {' '.join(joins)})")
    settled = [f"{_settled(f'CASE WHEN old_{f.name} THEN NULL ELSE v_{f.name} END', f)}, v_{f.name} IS NULL AS m_{f.name}" for f in given]
    parts.append(f"d0 AS (SELECT {', '.join(['row_key', 'row_id', *settled])} FROM v)")
    last = 0
    for last, level in enumerate(_levels(feature_set), start=1):
        raw = [f"{_render(f.expression)} AS v_{f.name}" for f in level]
        finite = [
            f"CASE WHEN v_{f.name} > {_number('-Infinity')} AND v_{f.name} < {_number('Infinity')} THEN v_{f.name} END" for f in level
        ]
        done = [f"{_settled(value, f)}, {value} IS NULL AS m_{f.name}" for f, value in zip(level, finite, strict=True)]
        parts.append(f"x{last} AS (SELECT {', '.join(['*', *raw])} FROM d{last - 1})")
        parts.append(f"d{last} AS (SELECT {', '.join(['*', *done])} FROM x{last})")
    missing = dialect.present([f"CASE WHEN m_{name} THEN {dialect.text(name)} END" for name in feature_set.names])
    outputs = [f"f_{name} AS {dialect.name(name)}" for name in feature_set.names]
    return f"WITH {', '.join(parts)} SELECT {', '.join(['row_key', 'row_id', *outputs])}, {missing} AS missing FROM d{last}"


def coded(value: str, categories: Sequence[str], dialect: Dialect) -> str:
    """A value as its number: the position of a text among categories, −1 for another text, NULL for NULL."""
    if not categories:
        return f"CAST({value} AS DOUBLE)"
    cases = [f"WHEN {value} = {dialect.text(text)} THEN {_number(code)}" for code, text in enumerate(categories)]
    return f"CASE WHEN {value} IS NULL THEN NULL {' '.join(cases)} ELSE {_number(-1.0)} END"


def _start(moment: str, window_us: int) -> str:
    hop = hop_us(window_us)
    # why: both engines' remainder takes the sign of the dividend, so the floor of a negative time needs it twice
    return f"({moment} - {window_us}) - ((({moment} - {window_us}) % {hop} + {hop}) % {hop})"


def _events(source: str, names: Mapping[str, str], schema: EventSchema, dialect: Dialect, since_us: int | None, until_us: int) -> str:
    fields = schema.types[source].fields
    picked = [
        f"CAST({dialect.name(field)} AS {'STRING' if fields[field] is FieldType.STR else 'BIGINT'}) AS {column}"
        for field, column in names.items()
    ]
    times = [f"event_time <= {until_us}"] + ([] if since_us is None else [f"event_time >= {since_us}"])
    conditions = " AND ".join([f"type = {dialect.text(source)}", *times])
    return f"SELECT {', '.join(['entity_id', *_KEY, *picked])} FROM events WHERE {conditions}"


def _aggregates(events: str, features: Iterable[Aggregate], names: Mapping[str, str], dialect: Dialect, longest_us: int) -> str:
    raw = []
    for feature in features:
        conditions = [_condition(condition, names, dialect) for condition in feature.where]
        if feature.window_us != longest_us:
            conditions.append(f"e.event_time >= m.start_{feature.window_us}")
        column = "" if feature.field is None else f"e.{names[feature.field]}"
        if column:
            conditions.append(f"{column} IS NOT NULL")
        where = " AND ".join(conditions) or "TRUE"
        for suffix, call in _calls(feature, column, dialect.order):
            aggregate = dialect.total(column, where) if call == "total" else f"{call} FILTER (WHERE {where})"
            raw.append(f"{aggregate} AS {suffix}_{feature.name}")
    join = f"e.entity_id = m.entity_id AND e.event_time < m.moment AND e.event_time >= m.start_{longest_us} AND {_KNOWN}"
    return f"SELECT {', '.join(['m.row_key', *raw])} FROM m JOIN {events} e ON {join} GROUP BY m.row_key"


def _calls(feature: Aggregate, column: str, order: str) -> list[tuple[str, str]]:
    match feature.aggregate:
        case "count":
            calls = [("n", "count(*)")]
        case "sum":
            calls = [("t", "total")]
        case "mean":
            calls = [("t", "total"), ("n", f"count({column})")]
        case "min" | "max":
            calls = [("o", f"{feature.aggregate}({column})")]
        case "first":
            calls = [("o", f"min_by({column}, {order})")]
        case "last":
            calls = [("o", f"max_by({column}, {order})")]
        case "distinct":
            calls = [("n", f"count(DISTINCT {column})")]
        case "seconds_since_last":
            calls = []
    return calls + [("l", "max(e.event_time)")] * (feature.aggregate == "seconds_since_last" or feature.max_age_us is not None)


def _latest(events: str, names: Mapping[str, str]) -> str:
    join = f"e.entity_id = m.entity_id AND e.event_time <= m.moment AND {_KNOWN}"
    picked = ", ".join(["m.row_key", "e.event_time", *(f"e.{column}" for column in names.values())])
    ranked = "row_number() OVER (PARTITION BY m.row_key ORDER BY e.event_time DESC, e.event_id DESC) AS place"
    return f"SELECT * FROM (SELECT {picked}, {ranked} FROM m JOIN {events} e ON {join}) ranked WHERE place = 1"


def _aggregate_value(feature: Aggregate, dialect: Dialect, relation: str) -> tuple[str, str]:
    age = f"m.moment - {relation}.l_{feature.name}"
    match feature.aggregate:
        case "count" | "distinct":
            value = f"CAST(nullif({relation}.n_{feature.name}, 0) AS DOUBLE)"
        case "sum":
            value = f"CAST({relation}.t_{feature.name} AS DOUBLE)"
        case "mean":
            value = f"CAST({relation}.t_{feature.name} AS DOUBLE) / CAST(nullif({relation}.n_{feature.name}, 0) AS DOUBLE)"
        case "seconds_since_last":
            value = f"CAST({age} AS DOUBLE) / {_number(1e6)}"
        case _:
            value = coded(f"{relation}.o_{feature.name}", feature.categories, dialect)
    return (
        value,
        "FALSE" if feature.max_age_us is None or feature.fallback != "default" else f"coalesce({age} > {feature.max_age_us}, FALSE)",
    )


def _attribute_value(feature: Attribute, dialect: Dialect, relation: str, names: Mapping[str, str]) -> tuple[str, str]:
    judged = feature.max_age_us is not None and feature.fallback == "default"
    stale = "FALSE" if not judged else f"coalesce(m.moment - {relation}.event_time > {feature.max_age_us}, FALSE)"
    return coded(f"{relation}.{names[feature.field]}", feature.categories, dialect), stale


def _settled(value: str, feature: Feature) -> str:
    # why: adding zero makes −0.0 the same zero everywhere
    return f"coalesce({value}, {_number(feature.default)}) + {_number(0.0)} AS f_{feature.name}"


def _levels(feature_set: FeatureSet) -> list[list[Derived]]:
    depth: dict[str, int] = {}
    levels: list[list[Derived]] = []
    for feature in feature_set.features:
        if isinstance(feature, Derived):
            depth[feature.name] = 1 + max((depth.get(name, 0) for name in columns(feature.expression)), default=0)
            if depth[feature.name] > len(levels):
                levels.append([])
            levels[depth[feature.name] - 1].append(feature)
    return levels


def _condition(condition: Where, names: Mapping[str, str], dialect: Dialect) -> str:
    def literal(value: int | str) -> str:
        return dialect.text(value) if isinstance(value, str) else str(int(value))

    right = f"({', '.join(map(literal, condition.value))})" if isinstance(condition.value, tuple) else literal(condition.value)
    operator = {"==": "=", "!=": "<>", "in": "IN", "not in": "NOT IN"}.get(condition.op, condition.op)
    return f"e.{names[condition.field]} {operator} {right}"


def _number(value: float | str) -> str:
    return f"CAST('{value}' AS DOUBLE)"


def _render(expression: Expression) -> str:
    match expression:
        case Number(value=value):
            return _number(value)
        case Column(name=name):
            return f"f_{name}"
        case Arithmetic(op="/", left=left, right=right):
            return f"({_render(left)} / nullif({_render(right)}, {_number(0.0)}))"
        case Arithmetic(op=op, left=left, right=right):
            return f"({_render(left)} {op} {_render(right)})"
        case Case(condition=condition, then=then, otherwise=otherwise):
            return f"CASE WHEN {_render_compare(condition)} THEN {_render(then)} ELSE {_render(otherwise)} END"
        case Coalesce(operands=operands):
            return f"coalesce({', '.join(map(_present, operands))})"
        case Bucket(value=inner, edges=edges):
            counted = _present(inner)
            steps = [f"WHEN {counted} < {_number(edge)} THEN {_number(float(code))}" for code, edge in enumerate(edges)]
            return f"CASE WHEN {counted} IS NULL THEN NULL {' '.join(steps)} ELSE {_number(float(len(edges)))} END"


def _render_compare(condition: Compare) -> str:
    operator = {"==": "=", "!=": "<>"}.get(condition.op, condition.op)
    return f"coalesce({_present(condition.left)} {operator} {_present(condition.right)}, FALSE)"


def _present(expression: Expression) -> str:
    # why: both engines hold NaN equal to itself and above infinity; the grammar holds it absent
    return f"nullif({_render(expression)}, {_NAN})"
