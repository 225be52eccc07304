"""`offerloop releases`."""

import click

from cli.here import layout_of, ledger_of, settings_of
from cli.output import json_option, moment, print_json, print_table
from contracts.errors import BundleRefused
from releases.bundle import read_bundle
from releases.ledger import ReleaseRow
from storage.layout import Layout


@click.command()
@click.argument("use_case", required=False)
@json_option
@click.pass_context
def releases(context: click.Context, use_case: str | None, as_json: bool) -> int:
    """List the releases of a use case, or of all: kind, stage, since when, and what the gate foresaw of them."""
    settings = settings_of(context)
    layout = layout_of(settings)
    with ledger_of(settings) as ledger:
        found = [row for name in ([use_case] if use_case else settings.use_cases) for row in ledger.releases(name)]
    if as_json:
        print_json(found)
        return 0
    columns = ("use case", "release", "stage", "scorer", "forecast a decision", "registered (UTC)", "there since (UTC)")
    rows = [
        (row.use_case, row.release_id, row.stage, *_said(layout, row), moment(row.registered_at), moment(row.changed_at)) for row in found
    ]
    print_table("Releases", columns, rows)
    return 0


def _said(layout: Layout, row: ReleaseRow) -> tuple[str, str]:
    try:
        parts = read_bundle(layout.bundles, row.release_id).parts
    except BundleRefused as error:
        return "damaged", error.reason
    forecast = parts.gate.get("forecast") if isinstance(parts.gate, dict) else None
    if not forecast:
        return parts.scorer_kind, ""
    unit = parts.settings.get("reward_unit", "")
    return parts.scorer_kind, f"{forecast['value']:.4f} [{forecast['low']:.4f}, {forecast['high']:.4f}] {unit}"
