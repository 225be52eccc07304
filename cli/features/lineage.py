"""`offerloop features lineage`."""

import click
from rich.tree import Tree

from cli.features.using import Using, releases_of
from cli.here import settings_of
from cli.output import console, json_option, print_json
from features.definitions import FeatureSet
from features.lineage import Edge, Node, lineage, readers
from use_cases.definition import load


@click.command("lineage")
@click.argument("use_case")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, as_json: bool) -> int:
    """Show what is made of what: sources, their fields, features, derived features, the feature set, releases."""
    settings = settings_of(context)
    feature_set = load(use_case).feature_set
    users = [use for use in releases_of(settings, use_case) if use.feature_set and use.feature_set.digest == feature_set.digest]
    edges = (
        *lineage(feature_set),
        *(Edge(Node("feature set", feature_set.name), Node("release", use.release.release_id)) for use in users),
    )
    if as_json:
        nodes = list(dict.fromkeys(node for edge in edges for node in (edge.start, edge.end)))
        print_json({"use_case": use_case, "digest": feature_set.digest, "nodes": nodes, "edges": edges})
        return 0
    console().print(_tree(feature_set, edges))
    console().print(_set(feature_set, users))
    return 0


def _tree(feature_set: FeatureSet, edges: tuple[Edge, ...]) -> Tree:
    below: dict[Node, list[Node]] = {}
    for edge in edges:
        below.setdefault(edge.start, []).append(edge.end)
    tree = Tree("sources")
    for source in [node for node in below if node.kind == "source"]:
        branch = tree.add(source.name)
        for node in below[source]:
            twig = branch.add(node.name)
            if node.kind == "field":
                for feature in below[node]:
                    _grow(twig.add(feature.name), feature_set, feature.name)
            else:
                _grow(twig, feature_set, node.name)
    return tree


def _grow(twig: Tree, feature_set: FeatureSet, name: str) -> None:
    for reader in readers(feature_set, name):
        _grow(twig.add(f"→ {reader}"), feature_set, reader)


def _set(feature_set: FeatureSet, users: list[Using]) -> Tree:
    tree = Tree(f"feature set {feature_set.name} ({feature_set.digest[:12]}): {len(feature_set.names)} features")
    for use in users:
        tree.add(f"→ release {use.release.release_id} ({use.release.stage})")
    if not users:
        tree.add("→ no release yet")
    return tree
