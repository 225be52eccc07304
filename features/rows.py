"""From what the windows held to finished rows: stale values and defaults, features of the request, derived features, what is missing."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from features.columns import Ints, Mask, Values
from features.definitions import Aggregate, Attribute, Derived, Feature, FeatureSet, Request
from features.vector import Floats, evaluate


def finish(feature_set: FeatureSet, found: Mapping[str, Values], asked: Mapping[str, Floats], row_ids: pa.Array, moment: Ints) -> pa.Table:
    """The rows of a feature set.

    Args:
        feature_set: whose features.
        found: by name the aggregates and attributes, (m,) each.
        asked: by name the features of the request, (m,) each, NaN where there is none.
        row_ids: (m,) texts.
        moment: (m,) µs.

    Returns:
        `row_id`, a double a feature in the set's order, `missing`: names of features without a value, as positions in a dictionary.
    """
    columns: dict[str, Floats] = {}
    absent: dict[str, Mask] = {}
    for feature in feature_set.features:
        numbers, absent[feature.name] = _value(feature, found, asked, columns, moment)
        # why: adding zero makes −0.0 the same zero everywhere
        columns[feature.name] = numbers + 0.0
    return pa.table({"row_id": row_ids, **columns, "missing": _names(absent)})


def _value(
    feature: Feature, found: Mapping[str, Values], asked: Mapping[str, Floats], columns: Mapping[str, Floats], moment: Ints
) -> tuple[Floats, Mask]:
    match feature:
        case Aggregate() | Attribute():
            values = found[feature.name]
            taken = values.present
            if feature.max_age_us is not None and feature.fallback == "default":
                taken = taken & (moment - values.newest <= feature.max_age_us)
            return np.where(taken, values.numbers, feature.default), ~values.present
        case Request():
            absent = np.isnan(asked[feature.name])
            return np.where(absent, feature.default, asked[feature.name]), absent
        case Derived():
            numbers = evaluate(feature.expression, columns, len(moment))
            absent = ~np.isfinite(numbers)
            return np.where(absent, feature.default, numbers), absent


def _names(absent: Mapping[str, Mask]) -> pa.Array:
    rows = len(next(iter(absent.values())))
    owner, which = np.nonzero(np.column_stack(list(absent.values()))) if rows else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    ends = np.zeros(rows + 1, np.int32)
    np.cumsum(np.bincount(owner, minlength=rows), out=ends[1:])
    names = pa.DictionaryArray.from_arrays(pa.array(which, pa.int32()), pa.array(list(absent), pa.string()))
    return pa.ListArray.from_arrays(pa.array(ends), names)
