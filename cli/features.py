"""`offerloop features`."""

import click

from cli.here import settings_of
from cli.output import json_option, print_json, print_table
from features.documentation import meaning
from use_cases.definition import load


@click.command()
@click.argument("use_case")
@json_option
@click.pass_context
def features(context: click.Context, use_case: str, as_json: bool) -> int:
    """List the features of a use case: what each means, its default, and how old it may be."""
    settings_of(context)
    feature_set = load(use_case).feature_set
    if as_json:
        print_json({"name": feature_set.name, "digest": feature_set.digest, "features": feature_set.features})
        return 0
    rows = [(feature.name, meaning(feature), feature.default) for feature in feature_set.features]
    print_table(f"{feature_set.name} ({feature_set.digest[:12]})", ("feature", "meaning", "default#"), rows)
    return 0
