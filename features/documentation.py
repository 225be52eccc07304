"""A feature set in words, for people."""

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from features.definitions import Aggregate, Attribute, Derived, Feature, FeatureSet, Request, Where
from features.expressions import Arithmetic, Bucket, Case, Coalesce, Column, Compare, Expression, Number

HEADINGS = ("feature", "meaning", "default", "max age", "unit", "owner", "description")


def rows(feature_set: FeatureSet) -> list[tuple[str, ...]]:
    """One row a feature, under `HEADINGS`."""
    return [
        (
            feature.name,
            meaning(feature),
            f"{feature.default:g}",
            "" if isinstance(feature, (Request, Derived)) or feature.max_age_us is None else duration(feature.max_age_us),
            feature.unit,
            feature.owner,
            feature.description,
        )
        for feature in feature_set.features
    ]


def render(feature_set: FeatureSet) -> str:
    """The feature set as a Markdown table, under its name and digest."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows(feature_set)]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{feature_set.name} ({feature_set.digest[:16]})\n\n{table}\n"


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
