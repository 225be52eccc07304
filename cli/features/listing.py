"""`offerloop features list`."""

import click

from cli.here import settings_of
from cli.output import json_option, print_json, print_table
from features.documentation import default_of, max_age, meaning, when_stale
from use_cases.definition import load


@click.command("list")
@click.argument("use_case")
@click.option("--tag", help="Only those with this tag, such as pii.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, tag: str | None, as_json: bool) -> int:
    """List the features of a use case: what each means, its default, and how old it may be."""
    settings_of(context)
    feature_set = load(use_case).feature_set
    chosen = [feature for feature in feature_set.features if tag is None or tag in feature.tags]
    if as_json:
        print_json({"name": feature_set.name, "digest": feature_set.digest, "entity": feature_set.entity, "features": chosen})
        return 0
    rows = [(feature.name, meaning(feature), default_of(feature), max_age(feature), when_stale(feature)) for feature in chosen]
    print_table(f"{feature_set.name} ({feature_set.digest[:12]})", ("feature", "meaning", "default#", "max age", "when stale"), rows)
    return 0
