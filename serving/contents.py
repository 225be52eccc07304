"""What is shown for a decision: the content of its action, by the catalogue of the release that decided, even when it serves no more."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

from contracts.errors import BundleRefused
from contracts.records import Decision
from releases.bundle import read_bundle
from serving.live import Live
from storage.layout import Layout

_CONTENTS_KEPT = 64
_NO_CONTENT: Mapping[str, str | int] = MappingProxyType({})


class Contents:
    """Looks contents up in what is live, else in the bundle, and remembers those.

    Args:
        layout: of the installation.
        live: gives what serves a use case.
    """

    def __init__(self, layout: Layout, live: Callable[[str], Live | None]) -> None:
        self._bundles = layout.bundles
        self._live = live
        self._kept: OrderedDict[tuple[str, str], Mapping[str, str | int]] = OrderedDict()

    def of(self, decision: Decision) -> Mapping[str, str | int]:
        """The content of the action that was chosen, as it was in the catalogue of its release; empty where that is gone."""
        live = self._live(decision.use_case)
        release = live.releases.get(decision.release_id) if live else None
        if release is not None:
            catalogue = release.runtime.catalogue
            position = catalogue.index.get(decision.action)
            return _NO_CONTENT if position is None else catalogue.candidates[position].content
        key = (decision.release_id, decision.action)
        if key not in self._kept:
            try:
                catalogue = read_bundle(self._bundles, decision.release_id).parts.catalogue
                self._kept[key] = catalogue.candidates[catalogue.index[decision.action]].content
            except (BundleRefused, KeyError):
                self._kept[key] = _NO_CONTENT
            while len(self._kept) > _CONTENTS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]
