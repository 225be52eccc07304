"""A feature set in words, for people."""

import math
from collections.abc import Sequence

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from features.definitions import UNKNOWN_CATEGORY, Aggregate, Attribute, Derived, Feature, FeatureSet, Request, Where
from features.expressions import Arithmetic, Bucket, Case, Coalesce, Column, Compare, Expression, Number
from features.lineage import inputs

HEADINGS = ("feature", "meaning", "type", "default", "max age", "when stale", "unit", "owner", "tags", "description")

STALE = {"default": "its default", "last": "the last value as it is", "refuse": "no decision"}
"""What stands in for a stale value, by the feature's fallback."""


def rows(feature_set: FeatureSet) -> list[tuple[str, ...]]:
    """One row a feature, under `HEADINGS`."""
    return [
        (
            feature.name,
            meaning(feature),
            type_of(feature),
            default_of(feature),
            max_age(feature),
            when_stale(feature),
            feature.unit,
            feature.owner,
            ", ".join(feature.tags),
            feature.description,
        )
        for feature in feature_set.features
    ]


def render(feature_set: FeatureSet) -> str:
    """The feature set as a Markdown table, under its name and digest; columns that say nothing are left out."""
    every = [HEADINGS, *rows(feature_set)]
    said = [column for column in range(len(HEADINGS)) if column == 0 or any(row[column] for row in every[1:])]
    lines = [[row[column] for column in said] for row in every]
    return f"{feature_set.name} ({feature_set.digest[:16]})\n\n{_table(lines)}"


def page(use_case: str, title: str, feature_set: FeatureSet) -> str:
    """A page of documentation, in Markdown: what each feature means, what the categories' codes are, and where it all comes from."""
    entity = feature_set.entity
    whom = f"{entity.name}: {entity.description}" if entity.description else f"{entity.name}."
    codes = [("feature", "categories, by code")]
    codes += [
        (name, ", ".join(f"{code} {text}" for code, text in enumerate(texts))) for name, texts in feature_set.categories.items() if texts
    ]
    sources = [("source", "fields", "features")] + [
        (source, ", ".join(sorted(fields)), ", ".join(dict.fromkeys(names))) for source, (fields, names) in _by_source(feature_set).items()
    ]
    parts = [
        f"# Features of {use_case}",
        f"{title}. Each row is of a {whom}",
        f"Made from the definitions by `offerloop features docs {use_case}`; change them, not this page.",
        render(feature_set).rstrip(),
    ]
    if len(codes) > 1:
        parts += ["## Categories", "Any other text has the code −1.", _table(codes).rstrip()]
    parts += ["## Where they come from", _table(sources).rstrip()]
    return "\n\n".join(parts) + "\n"


def type_of(feature: Feature) -> str:
    """Whether its values are numbers, or codes of so many categories."""
    categories = () if isinstance(feature, Derived) else feature.categories
    return f"one of {len(categories)}" if categories else "number"


def default_of(feature: Feature) -> str:
    """What stands in when it has no value: a number, the category of a code, or nothing."""
    if math.isnan(feature.default):
        return "absent"
    categories = () if isinstance(feature, Derived) else feature.categories
    if categories and feature.default == UNKNOWN_CATEGORY:
        return "unknown"
    if categories and feature.default.is_integer() and 0 <= feature.default < len(categories):
        return categories[int(feature.default)]
    return f"{feature.default:.10g}"


def max_age(feature: Feature) -> str:
    """How old it may be; empty where it may be of any age."""
    return "" if isinstance(feature, (Request, Derived)) or feature.max_age_us is None else duration(feature.max_age_us)


def when_stale(feature: Feature) -> str:
    """What stands in when it is older than that; empty where it may be of any age."""
    return STALE[feature.fallback] if not isinstance(feature, (Request, Derived)) and feature.max_age_us is not None else ""


def meaning(feature: Feature) -> str:
    """What a feature is, in a phrase.

    Example:
        >>> meaning(Aggregate(name="n", source="session", aggregate="count", window_us=7 * DAY_US))
        'count of session over 7 d'
    """
    match feature:
        case Aggregate(source=source, field=field, aggregate=aggregate):
            filters = " and ".join(map(_condition, feature.where))
            of = f"{source}.{field}" if field else source
            return f"{aggregate} of {of} over {duration(feature.window_us)}" + (f" where {filters}" if filters else "")
        case Attribute(source=source, field=field):
            return f"latest {source}.{field}"
        case Request(field=field):
            return f"{field} of the request"
        case Derived(expression=expression):
            return _expression(expression)


def duration(length_us: int) -> str:
    """A length of time in its largest whole unit.

    Example:
        >>> duration(36 * HOUR_US)
        '36 h'
    """
    for unit, name in ((DAY_US, "d"), (HOUR_US, "h"), (MINUTE_US, "min"), (SECOND_US, "s")):
        if length_us % unit == 0:
            return f"{length_us // unit} {name}"
    return f"{length_us} µs"


def _by_source(feature_set: FeatureSet) -> dict[str, tuple[set[str], list[str]]]:
    """For each source its fields that are read, and the features that read it, also by way of others."""
    found: dict[str, tuple[set[str], list[str]]] = {}
    for feature in feature_set.features:
        for origin in inputs(feature_set, feature):
            fields, names = found.setdefault(origin.source, (set(), []))
            fields.update([origin.field] if origin.field else [])
            names.append(feature.name)
    return found


def _table(lines: Sequence[Sequence[str]]) -> str:
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in ruled)


def _condition(condition: Where) -> str:
    return f"{condition.field} {condition.op} {condition.value!r}"


def _expression(expression: Expression | Compare) -> str:
    match expression:
        case Number(value=value):
            return f"{value:g}"
        case Column(name=name):
            return name
        case Arithmetic(op=op, left=left, right=right) | Compare(op=op, left=left, right=right):
            return f"({_expression(left)} {op} {_expression(right)})"
        case Case(condition=condition, then=then, otherwise=otherwise):
            return f"case({_expression(condition)}, {_expression(then)}, {_expression(otherwise)})"
        case Coalesce(operands=operands):
            return f"coalesce({', '.join(map(_expression, operands))})"
        case Bucket(value=inner, edges=edges):
            return f"bucket({_expression(inner)}, [{', '.join(f'{edge:g}' for edge in edges)}])"
