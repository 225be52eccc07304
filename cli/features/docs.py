"""`offerloop features docs`."""

from pathlib import Path

import click

from cli.here import settings_of
from features.documentation import page
from storage.files import write_bytes
from use_cases.definition import load


@click.command("docs")
@click.argument("use_case")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page; printed otherwise.")
@click.pass_context
def command(context: click.Context, use_case: str, out: Path | None) -> int:
    """Write the page of documentation of a use case's features, in Markdown, from their definitions."""
    settings_of(context)
    chosen = load(use_case)
    text = page(chosen.name, chosen.title, chosen.feature_set)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_bytes(out, text.encode())
        click.echo(f"{len(chosen.feature_set.names)} features in {out}")
    return 0
