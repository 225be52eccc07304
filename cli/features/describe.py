"""`offerloop features describe`."""

import click

from cli.features.using import releases_of
from cli.here import settings_of
from cli.output import json_option, print_json, print_table
from contracts.errors import NotFound
from features.definitions import Feature, FeatureSet
from features.documentation import default_of, max_age, meaning, type_of, when_stale
from features.lineage import inputs, parents, readers
from use_cases.definition import load


@click.command("describe")
@click.argument("use_case")
@click.argument("feature")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, feature: str, as_json: bool) -> int:
    """Say everything that is declared of one feature, what it is made of, what reads it, and which releases use it."""
    settings = settings_of(context)
    feature_set = load(use_case).feature_set
    found = one_of(feature_set, feature)
    releases = [use.release for use in releases_of(settings, use_case) if use.uses(feature, feature_set.digests[feature])]
    if as_json:
        print_json(
            {
                "use_case": use_case,
                "feature": found,
                "digest": feature_set.digests[feature],
                "written_at": found.written_at,
                "meaning": meaning(found),
                "reads": inputs(feature_set, found),
                "made_of": parents(found),
                "read_by": readers(feature_set, feature),
                "releases": [{"release_id": row.release_id, "stage": row.stage} for row in releases],
            }
        )
        return 0
    told = _declared(feature_set, found)
    told.append(("releases that use it", ", ".join(f"{row.release_id} ({row.stage})" for row in releases) or "none yet"))
    print_table(f"{feature} of {use_case}", ("", ""), told)
    return 0


def one_of(feature_set: FeatureSet, name: str) -> Feature:
    """The feature of a name.

    Raises:
        NotFound: there is none; it says which there are.
    """
    if name not in feature_set.names:
        raise NotFound("feature", name, feature_set.names)
    return feature_set.features[feature_set.names.index(name)]


def _declared(feature_set: FeatureSet, feature: Feature) -> list[tuple[str, str]]:
    origins = ", ".join(f"{one.source}.{one.field}" if one.field else one.source for one in inputs(feature_set, feature))
    categories = feature_set.categories[feature.name]
    told = [
        ("description", feature.description),
        ("meaning", meaning(feature)),
        ("type", type_of(feature)),
        ("categories, by code", ", ".join(f"{code} {text}" for code, text in enumerate(categories))),
        ("unit", feature.unit),
        ("default", default_of(feature)),
        ("may be as old as", max_age(feature) or "any age"),
        ("when older", when_stale(feature)),
        ("owner", feature.owner),
        ("tags", ", ".join(feature.tags)),
        ("written at", feature.written_at),
        ("digest of its meaning", feature_set.digests[feature.name][:16]),
        ("made of the features", ", ".join(parents(feature))),
        ("reads, in the end", origins),
        ("read by the features", ", ".join(readers(feature_set, feature.name))),
    ]
    return [(what, said) for what, said in told if said]
