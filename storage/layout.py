"""Where everything of an installation lies, under its one state folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of an installation's state. Nothing is made until something is written."""

    root: Path

    @property
    def installation(self) -> Path:
        """Which installation this is, and its clock."""
        return self.root / "installation.json"

    @property
    def journal(self) -> Path:
        """The LMDB environment that the machine's processes share."""
        return self.root / "journal.lmdb"

    @property
    def tables(self) -> Path:
        """Parquet tables and their manifest."""
        return self.root / "tables"

    @property
    def features(self) -> Path:
        """What is computed from the tables and can be made again, a folder a use case."""
        return self.root / "features"

    def latest(self, use_case: str) -> Path:
        """The newest table of all entities' features."""
        return self.features / use_case / "latest.parquet"

    def tiles(self, use_case: str) -> Path:
        """The event table laid out for windows."""
        return self.features / use_case / "tiles"

    def backfilled(self, use_case: str) -> Path:
        """Features of logged decisions, computed point in time."""
        return self.features / use_case / "backfill"

    @property
    def bundles(self) -> Path:
        """Verified bundles, a folder each, named by release."""
        return self.root / "bundles"

    @property
    def compiled(self) -> Path:
        """The scorers' kernel, as this machine's compiler made it; mode 0700, and made again when deleted."""
        return self.root / "compiled"

    @property
    def ledger(self) -> Path:
        """SQLite: ledger, stages, traffic plans, inbox."""
        return self.root / "ledger.sqlite"

    @property
    def secrets(self) -> Path:
        """Keys, mode 0700; each file 0600."""
        return self.root / "secrets"

    @property
    def metrics_key(self) -> Path:
        """The key with which Prometheus scrapes."""
        return self.secrets / "metrics_key"

    @property
    def logs(self) -> Path:
        """A log a service."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What runs now: process ids, ports in use."""
        return self.root / "run"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artifacts."""
        return self.root / "mlflow"

    @property
    def prefect(self) -> Path:
        """Prefect's database and profiles."""
        return self.root / "prefect"

    @property
    def monitor(self) -> Path:
        """The newest measurements, read by the exporter."""
        return self.root / "monitor"

    @property
    def reports(self) -> Path:
        """Reports for people."""
        return self.root / "reports"
