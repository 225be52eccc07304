"""Where a flow works: the installation that the environment names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.clock import Clock
from contracts.errors import StateRefused
from contracts.events import EventSchema
from contracts.settings import Settings
from releases.ledger import Ledger
from releases.registry import Registry
from serving.keys import services_key
from serving.operations import Desk
from storage.drain import DrainReport, drain
from storage.installation import open_installation
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables
from use_cases.definition import UseCase, load_all

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Place:
    """An installation as a flow sees it."""

    settings: Settings
    layout: Layout
    clock: Clock
    use_cases: dict[str, UseCase]

    @property
    def tables(self) -> Tables:
        """The Parquet tables."""
        return Tables(self.layout.tables)

    @property
    def schemas(self) -> dict[str, EventSchema]:
        """The event schema of each use case."""
        return {name: use_case.schema for name, use_case in self.use_cases.items()}

    @property
    def mlflow(self) -> str:
        """Address of MLflow."""
        return os.environ.get("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{self.settings.ports.mlflow}")

    def registry(self) -> Registry:
        """MLflow's registry, with the key of the installation's own processes."""
        return Registry(self.mlflow, services_key(self.layout))

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, closed afterwards."""
        ledger = Ledger(self.layout.ledger)
        try:
            yield ledger
        finally:
            ledger.close()

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """The installation for those who operate it, its ledger closed afterwards."""
        with self.ledger() as ledger:
            yield Desk(self.layout, ledger, self.use_cases, self.clock)

    def drain(self) -> DrainReport:
        """Move everything accepted so far into the tables."""
        journal = Journal(self.layout.journal, self.settings.store.map_size_bytes)
        try:
            return drain(journal, self.tables, self.schemas)
        finally:
            journal.close()


def settings_here() -> Settings:
    """The settings of `offerloop.toml` in the current folder, and of the environment."""
    file = Path("offerloop.toml")
    return Settings.build(file.read_text() if file.exists() else "", os.environ)


def open_place() -> Place:
    """The installation that the environment names.

    Raises:
        StateRefused: there is none yet.
    """
    settings = settings_here()
    layout = Layout(settings.folder)
    if not layout.installation.exists():
        raise StateRefused(
            str(layout.root), "holds no installation", "Start one with `offerloop up`, or name its folder with OFFERLOOP_STATE."
        )
    clock = open_installation(layout, settings.clock).clock
    return Place(settings, layout, clock, load_all(settings.use_cases, settings.approvers))
