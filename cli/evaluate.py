"""`offerloop evaluate`."""

import tempfile
from pathlib import Path

import click

from cli.here import clock_of, layout_of, ledger_of, settings_of
from cli.output import console, json_option, number, print_json, print_table
from contracts.errors import InvalidInput, NotFound
from decisions.estimators import NAMES
from decisions.value import Estimate
from releases.bundle import read_bundle
from storage.files import write_bytes
from storage.tables import Tables
from training.log_value import LogValue, Wanted, value_log
from training.plain_log import read_plain
from training.release_value import value_release
from use_cases.definition import load

RELEASE = "release:"
REFUSED = 1


@click.command()
@click.argument("log")
@click.option(
    "--policy",
    required=True,
    help="uniform, logged, always:ACTION, learned, epsilon_greedy:SHARE, columns, file:PATH; of a use case, release:ID.",
)
@click.option("--estimator", type=click.Choice(NAMES), help="To be believed: by default dr, and without a model snips. All are shown.")
@click.option("--confidence", type=click.FloatRange(0.5, 0.9999), default=0.95, show_default=True, help="Of the two-sided intervals.")
@click.option("--interval", "method", type=click.Choice(["analytic", "bootstrap", "bernstein"]), help="By default what fits the data.")
@click.option("--by", help="A feature, for the value in each of its slices.")
@click.option("--model/--no-model", default=True, show_default=True, help="Fit a model of the reward, by folds of entities.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of folds and resamples.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a page (.html), or the values alone (.svg).")
@json_option
@click.pass_context
def evaluate(
    context: click.Context,
    log: str,
    policy: str,
    estimator: str | None,
    confidence: float,
    method: str | None,
    by: str | None,
    model: bool,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Say what a policy would have earned on a log: a Parquet or CSV file, or with release:ID the log of a use case.

    Columns of a file: decision_id, action, propensity, reward; optional entity_id, decided_at, rewarded_at, candidate_ids with p_in_arm,
    features x_…, probabilities target_ACTION. Ends with 1 where the log cannot tell.
    """
    if plot is not None and plot.suffix not in (".html", ".svg"):
        raise InvalidInput("plot", f"is {plot.name!r}", "a name that ends in .html or .svg")
    wanted = Wanted(policy, estimator, confidence, method, by, model, seed)  # type: ignore[arg-type]  # why: click has checked the choices
    if policy.startswith(RELEASE):
        found = _release(context, log, policy.removeprefix(RELEASE), wanted)
    else:
        found = value_log(read_plain(Path(log)), wanted)
    if as_json:
        print_json(found)
    else:
        _say(found)
    if plot is not None:
        from cli.evaluation_page import page, values
        from cli.report import to_html

        figure = values(found)
        text = to_html(page(found)) if plot.suffix == ".html" else "" if figure is None else figure.svg
        write_bytes(plot, text.encode())
    return REFUSED if found.refused else 0


def _release(context: click.Context, name: str, release_id: str, wanted: Wanted) -> LogValue:
    settings = settings_of(context)
    layout, use_case = layout_of(settings), load(name)
    with ledger_of(settings) as ledger:
        rows = {row.release_id: row for row in ledger.releases(name)}
    if release_id not in rows:
        raise NotFound("release", release_id, tuple(rows))
    with tempfile.TemporaryDirectory(prefix="offerloop-evaluate-") as folder:
        return value_release(
            Tables(layout.tables),
            use_case,
            release_id,
            read_bundle(layout.bundles, release_id).parts,
            wanted,
            registered_at=rows[release_id].registered_at,
            now_us=clock_of(settings).now_us(),
            folder=Path(folder),
        )


def _say(found: LogValue) -> None:
    known = found.overlap
    of = "each row standing for itself" if found.entities is None else f"of {found.entities:,} entities"
    out = console()
    out.print(f"[bold]{found.policy}[/bold] on {found.log}: {found.n:,} decisions {of}, {found.actions} actions")
    print_table(
        "Overlap",
        ("what", "found#"),
        [
            ("decisions that would say as much without weights", number(known.effective_n)),
            ("largest weight", number(known.largest_weight)),
            ("share of all weight that one entity has", f"{known.largest_share:.2%}"),
            ("mean weight", spell(known.mean_weight)),
            ("of what the policy shows, never shown by the log", f"{known.unseen:.2%}"),
            ("of what the policy shows, shown by the log with less than 1 %", f"{known.hardly:.2%}"),
        ],
    )
    if found.refused:
        out.print("[bold red]refused[/bold red]: the log cannot tell what the policy would have earned")
        for reason in known.refusals:
            out.print(f"  · {reason}", highlight=False)
        return
    rows = [
        (f"{name} ←" if name == found.estimator else name, spell(value.estimate), number(value.estimate.standard_error), value.method)
        for name, value in found.values.items()
    ]
    print_table("Value a decision", ("estimator", "value", "standard error#", "interval"), [*rows, ("logged", spell(found.logged), "", "")])
    assert found.gain is not None
    out.print(f"{found.estimator}: {spell(found.gain)} over the log itself, on the same decisions", highlight=False)
    out.print(f"interval: {found.values[found.estimator].reason}", highlight=False)
    if found.slices:
        print_table(
            f"By slice ({found.estimator}); intervals hold for all at once (Šidák), p-values too (Holm)",
            ("slice", "decisions#", "value", "p, like the rest#"),
            [
                (part.name, f"{part.n:,}", "" if part.estimate is None else spell(part.estimate), f"{part.apart:.3f}")
                for part in found.slices
            ],
        )


def spell(estimate: Estimate) -> str:
    """A value with its interval."""
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"
