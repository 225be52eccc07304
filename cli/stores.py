"""Stores of an installation that does or does not run: read as they are now."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.here import layout_of
from contracts.settings import Settings
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables
from use_cases.definition import load_all


@contextmanager
def journal_of(settings: Settings) -> Iterator[Journal]:
    """The journal of an installation that exists, closed afterwards.

    Raises:
        StateRefused: the folder holds none.
    """
    journal = Journal(layout_of(settings).journal, settings.store.map_size_bytes)
    try:
        yield journal
    finally:
        journal.close()


def drained(settings: Settings) -> Tables:
    """The tables of an installation that exists, with everything in them that was accepted so far.

    Raises:
        StateRefused: the folder holds none.
    """
    tables = Tables(layout_of(settings).tables)
    with journal_of(settings) as journal:
        drain(journal, tables, {name: one.schema for name, one in load_all(settings.use_cases).items()})
    return tables
