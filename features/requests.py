"""Features of the request, from the contexts that decisions logged: one meaning for all engines, so it is Python's."""

from collections.abc import Iterable

import msgspec

from features.definitions import FeatureSet, Request
from features.plan import request_value


def requests_of(feature_set: FeatureSet) -> list[Request]:
    """The features of the request, in order."""
    return [feature for feature in feature_set.features if isinstance(feature, Request)]


def request_columns(feature_set: FeatureSet, contexts: Iterable[str | None]) -> dict[str, list[float | None]]:
    """For each feature of the request its values, from contexts as JSON text; none where it is missing.

    Raises:
        msgspec.DecodeError: a context is no JSON object.
    """
    features = requests_of(feature_set)
    columns: dict[str, list[float | None]] = {feature.name: [] for feature in features}
    decoder = msgspec.json.Decoder(dict[str, object])
    for text in contexts:
        context = decoder.decode(text) if text else {}
        for feature in features:
            columns[feature.name].append(request_value(feature, context.get(feature.field)))
    return columns
