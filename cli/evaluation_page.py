"""What a log says of a policy, as a page: values, weights, overlap, and how far the model can be relied on."""

import math

from cli.output import number
from cli.plots import Interval, bars, intervals
from cli.report import Figure, Report, Section, Table
from decisions.value import Estimate
from training.log_value import LogValue


def page(found: LogValue) -> Report:
    """The report."""
    return Report(
        title=f"{found.policy} on {found.log}",
        verdict=_verdict(found),
        holds=not found.refused,
        sections=[section for section in (_values(found), _overlap(found), _reliability(found), _slices(found)) if section is not None],
    )


def values(found: LogValue) -> Figure | None:
    """Values with intervals by estimator; None where they are refused."""
    items = [
        Interval(name, value.estimate.value, value.estimate.low, value.estimate.high, "learned" if name == found.estimator else "other")
        for name, value in found.values.items()
        if _finite(value.estimate)
    ]
    if not items:
        return None
    log = found.logged
    items.append(Interval("as logged", log.value, log.low, log.high, "control"))
    return intervals(items, "reward a decision", f"value of {found.policy} by estimator", log.value)


def _verdict(found: LogValue) -> str:
    if found.refused:
        return f"Refused: the log cannot tell what {found.policy} would have earned. " + "; ".join(found.overlap.refusals) + "."
    value = found.values[found.estimator].estimate
    return f"{found.policy} would have earned {_spell(value)} a decision ({found.estimator}); the log earned {_spell(found.logged)}."


def _values(found: LogValue) -> Section:
    rows = [(name, _spell(value.estimate), value.method, value.reason) for name, value in found.values.items()]
    table = Table(("estimator", "value a decision", "interval", "why that one"), rows) if rows else None
    return Section(
        "What would it have earned?",
        "Each estimator with its interval; they agree where the model and the weights do." if rows else "Nothing that could be believed.",
        table,
        values(found),
    )


def _overlap(found: LogValue) -> Section:
    known = found.overlap
    rows = [
        ("decisions", f"{found.n:,}"),
        ("decisions that would say as much without weights", number(known.effective_n)),
        ("largest weight", number(known.largest_weight)),
        ("share of all weight that one entity has", f"{known.largest_share:.2%}"),
        ("mean weight", _spell(known.mean_weight)),
        ("never shown by the log", f"{known.unseen:.2%}"),
        ("hardly shown by the log", f"{known.hardly:.2%}"),
    ]
    figure = bars([(name, share, "other") for name, share in found.weights], "share of decisions, by weight", "how large the weights are")
    return Section(
        "How much of it did the log really do?", "Weight: how much more often the policy does what was done.", Table(("", ""), rows), figure
    )


def _reliability(found: LogValue) -> Section | None:
    bins = [part for part in found.reliability if _finite(part.seen)]
    if not bins:
        return None
    figure = intervals(
        [Interval(f"predicted {part.predicted:.4g}", part.seen.value, part.seen.low, part.seen.high) for part in bins],
        "reward that was seen",
        "reward seen where the model predicts about the same",
    )
    rows = [(f"{part.predicted:.4g}", f"{part.n:,}", _spell(part.seen)) for part in bins]
    return Section(
        "Can the model be relied on?",
        "Decisions in ten parts by what models that have not seen their entity predict, beside what came.",
        Table(("predicted", "decisions", "seen"), rows),
        figure,
    )


def _slices(found: LogValue) -> Section | None:
    if not found.slices:
        return None
    known = [(part, part.estimate) for part in found.slices if part.estimate is not None and _finite(part.estimate)]
    rows = [(part.name, f"{part.n:,}", _spell(estimate), f"{part.apart:.3f}") for part, estimate in known]
    figure = intervals(
        [Interval(part.name, estimate.value, estimate.low, estimate.high) for part, estimate in known],
        "reward a decision",
        "value by slice",
    )
    return Section(
        "For whom?",
        "Intervals that hold for all slices at once (Šidák), and p-values of being like the rest (Holm).",
        Table(("slice", "decisions", "value", "p"), rows),
        figure,
    )


def _finite(estimate: Estimate) -> bool:
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)


def _spell(estimate: Estimate) -> str:
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"
