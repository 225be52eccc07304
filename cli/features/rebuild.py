"""`offerloop features rebuild`."""

import click

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from serving.service import DecisionService
from use_cases.definition import load


@click.command("rebuild")
@click.argument("use_case")
@click.option("--entity", "entities", multiple=True, help="Only this entity; may be given again. Without it, all.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, entities: tuple[str, ...], as_json: bool) -> int:
    """Make the online state of entities anew from the tables and the journal, as after damage, or for windows that are longer than before.

    Decisions and events may go on meanwhile. Interrupted, run it again.
    """
    settings = settings_of(context)
    layout_of(settings)
    with DecisionService(settings, {use_case: load(use_case)}) as service:
        report = service.rebuild(use_case, entities or None)
    if as_json:
        print_json(report)
    else:
        click.echo(f"{report.entities:,} states made anew, from {report.events:,} events of the tables and what the journal had besides")
    return 0
