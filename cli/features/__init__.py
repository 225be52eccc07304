"""`offerloop features`: what each feature is, where it comes from, and how it behaves."""

import click

from cli.commands import Lazy

COMMANDS = {
    "list": ("cli.features.listing", "Each feature, its meaning and its default."),
    "describe": ("cli.features.describe", "Everything that is declared of one feature, and which releases use it."),
    "preview": ("cli.features.preview", "The values of one entity, now or at a moment."),
    "profile": ("cli.features.profile", "How values are distributed in logged decisions, and how they drift."),
    "parity": ("cli.features.parity", "Compute logged features again with DuckDB and Spark, and compare the bits."),
    "materialize": ("cli.features.materialize", "Bring tiles up to date, and write the table of every entity's features."),
    "backfill": ("cli.features.backfill", "Compute for logged decisions what they did not log, as it was known then."),
    "rebuild": ("cli.features.rebuild", "Make online states anew from the tables, as after damage."),
    "lineage": ("cli.features.lineage", "From sources to releases: what is made of what."),
    "docs": ("cli.features.docs", "The page of documentation of a use case's features."),
}
"""Where each command is, and what it does."""


@click.group("features", cls=Lazy, members=COMMANDS)
def command() -> None:
    """Features of a use case: written once, computed alike by DuckDB, by Spark and online."""
