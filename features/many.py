"""Features of many entities at one moment, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.records import FieldValue
from features.definitions import FeatureRow
from features.plan import Plan, request_value
from features.ready import AGELESS, MISSING, REPLACED, ROW, STALE


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRows:
    """The features of (n,) entities, each as `FeatureRow` has them.

    Attributes:
        names: (k,) of the features.
        values: (n, k) float64.
        ages_us: (n, k) int64, −1 where there is none.
        missing, stale: (n, k) truth values.
        seen_seq: (n,) int64, 0 for an unknown entity.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    ages_us: NDArray[np.int64]
    missing: NDArray[np.bool_]
    stale: NDArray[np.bool_]
    seen_seq: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.seen_seq)

    def row(self, index: int) -> FeatureRow:
        """The features of one of them."""
        return FeatureRow(
            self.values[index],
            tuple(self.names[place] for place in np.flatnonzero(self.missing[index])),
            self.ages_us[index],
            tuple(self.names[place] for place in np.flatnonzero(self.stale[index])),
            int(self.seen_seq[index]),
        )

    @classmethod
    def of(
        cls, plan: Plan, rows: Sequence[bytes], seqs: Sequence[int], at_us: int, contexts: Sequence[Mapping[str, FieldValue]] | None
    ) -> "FeatureRows":
        """What encoded rows that hold at a moment say, with what moves filled in."""
        count = len(plan.names)
        table = np.frombuffer(b"".join(rows), _layout(count, plan.parts))
        values, flags = table["values"].copy(), table["flags"]
        ageless = (flags & AGELESS) != 0
        ages = np.where(ageless, -1, at_us - table["times"])
        missing, stale = (flags & MISSING) != 0, (flags & STALE) != 0
        for place in plan.recencies:
            fresh = (flags[:, place] & (MISSING | REPLACED)) == 0
            values[fresh, place] = ages[fresh, place] / 1e6
        if plan.requests or plan.live:
            _fill(plan, values, ages, missing, contexts)
        return cls(plan.names, values, ages, missing, stale, np.array(seqs, dtype=np.int64))


def _fill(
    plan: Plan,
    values: NDArray[np.float64],
    ages: NDArray[np.int64],
    missing: NDArray[np.bool_],
    contexts: Sequence[Mapping[str, FieldValue]] | None,
) -> None:
    for place, request in plan.requests:
        for index, context in enumerate(contexts or ()):
            value = request_value(request, context.get(request.field))
            if value is not None:
                values[index, place], ages[index, place], missing[index, place] = value, 0, False
    for derived in plan.live:
        place = derived.position
        found = np.array([derived.function(row) for row in values.tolist()])
        finite = np.isfinite(found)
        values[finite, place] = found[finite] + 0.0
        missing[finite, place] = False
        if len(derived.inputs):
            ages[:, place] = ages[:, list(derived.inputs)].max(axis=1)


@cache
def _layout(count: int, parts: int) -> np.dtype[Any]:
    first = ROW.size + 8 * parts
    return np.dtype(
        {
            "names": ["values", "times", "flags"],
            "formats": [("<f8", (count,)), ("<i8", (count,)), ("u1", (count,))],
            "offsets": [first, first + 8 * count, first + 16 * count],
            "itemsize": first + 17 * count + -count % 8,
        }
    )
