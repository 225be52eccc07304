"""The page of a profile: a table of all features, and for each its distribution and its course."""

from cli.plots import shape
from cli.report import Report, Section, Table
from features.documentation import meaning
from features.profile import FeatureProfile, Moment, period_name
from use_cases.definition import UseCase

CHANGED = 0.25
"""Drift above which a feature is said to have another distribution."""

NEWEST = 7
"""Periods that the table of a feature shows, beside the first."""


def report(use_case: UseCase, found: tuple[FeatureProfile, ...], rows: int, what: str) -> Report:
    """The report of a profile."""
    drifted = [one.name for one in found if one.drift > CHANGED]
    said = f"{len(found)} features of {rows:,} {what}"
    drift = f"; {', '.join(drifted)} drifted since the first period" if drifted else "; none drifted" if found and found[0].periods else ""
    sections = [_overview(found), *(_section(use_case, one) for one in found)] if found else []
    return Report(f"Features of {use_case.name}", f"{said}{drift}.", not drifted, sections)


def _overview(found: tuple[FeatureProfile, ...]) -> Section:
    text = (
        "Drift is the population stability index of the last period against the first: below 0.1 as good as the same, above 0.25 another."
    )
    columns = ("feature", "missing", "stale", "distinct", "mean", "drift")
    return Section(
        "All features",
        text,
        Table(columns, [(one.name, *_shares(one), f"{one.distinct:,}", _mean(one), f"{one.drift:.3f}") for one in found]),
    )


def _section(use_case: UseCase, one: FeatureProfile) -> Section:
    feature = use_case.feature_set.features[use_case.feature_set.names.index(one.name)]
    periods = [
        (
            period_name(period.start_us),
            f"{period.rows:,}",
            f"{period.missing:.1%}",
            f"{period.stale:.1%}",
            "" if period.mean is None else f"{period.mean:.6g}",
            f"{period.drift:.3f}",
        )
        for period in _shown(one.periods)
    ]
    there = sum(one.rows for one in one.classes) or 1
    classes = [(each.name, each.rows / there) for each in one.classes]
    figure = None
    if classes:
        means = [(period_name(period.start_us)[5:], period.mean) for period in one.periods]
        figure = shape(classes, means, feature.unit, f"Distribution of {one.name}, and its mean by period")
    table = Table(("period from", "rows", "missing", "stale", "mean", "drift"), periods) if len(periods) > 1 else None
    text = f"{meaning(feature)}. {feature.description}".strip()
    return Section(one.name, text if classes else f"{text} It is always missing.", table, figure)


def _shown(periods: tuple[Moment, ...]) -> tuple[Moment, ...]:
    """The first, which the others are compared with, and the newest."""
    return periods if len(periods) <= NEWEST + 1 else (periods[0], *periods[-NEWEST:])


def _shares(one: FeatureProfile) -> tuple[str, str]:
    return f"{one.missing:.1%}", f"{one.stale:.1%}"


def _mean(one: FeatureProfile) -> str:
    return "" if one.mean is None else f"{one.mean:.6g}"
