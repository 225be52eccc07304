"""Which releases use which features."""

from dataclasses import dataclass

import msgspec

from contracts.errors import BundleRefused, DefinitionError
from contracts.settings import Settings
from features.definitions import FeatureSet
from releases.bundle import read_bundle
from releases.ledger import Ledger, ReleaseRow
from storage.layout import Layout


@dataclass(frozen=True, slots=True)
class Using:
    """A release and the features it was made with; none where its bundle cannot be read."""

    release: ReleaseRow
    feature_set: FeatureSet | None

    def uses(self, name: str, digest: str) -> bool:
        """Whether it has a feature of this name and meaning."""
        return self.feature_set is not None and self.feature_set.digests.get(name) == digest


def releases_of(settings: Settings, use_case: str) -> list[Using]:
    """The releases of a use case with their features; none where there is no installation yet."""
    layout = Layout(settings.folder)
    if not layout.installation.exists():
        return []
    ledger = Ledger(layout.ledger)
    try:
        return [Using(row, _features(layout, row.release_id)) for row in ledger.releases(use_case)]
    finally:
        ledger.close()


def _features(layout: Layout, release_id: str) -> FeatureSet | None:
    try:
        return FeatureSet.from_json(msgspec.json.encode(read_bundle(layout.bundles, release_id).parts.features))
    except (BundleRefused, DefinitionError):
        return None
