"""The newest decisions, as the journal has them before they are drained into the tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from contracts.records import Decision
from contracts.tables import DECISIONS
from features.definitions import FeatureSet
from serving.console.desk import Office

MOST = 500
LOOKED_AT = 5_000
"""Records of all kinds that are looked through for them."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Decisions of a use case, newest first; `waiting` counts records of all kinds and use cases that the tables do not have yet."""

    decisions: tuple[Decision, ...]
    waiting: int

    @property
    def degraded_share(self) -> float:
        """The share of them that were degraded."""
        return sum(bool(decision.degraded) for decision in self.decisions) / len(self.decisions) if self.decisions else 0.0


@dataclass(frozen=True, slots=True)
class FeatureAge:
    """How old a feature was in decisions that had it, in microseconds, and the shares that had no value, or one that was too old."""

    name: str
    median_us: int | None
    oldest_us: int | None
    missing: float
    stale: float


def recent(office: Office, use_case: str) -> Recent:
    """The newest decisions of a use case that are still in the journal."""
    with office.journal.read() as read:
        last = read.last_position()
        records = list(read.records(after=max(0, last - LOOKED_AT), limit=LOOKED_AT))
        oldest = next((position for position, _, _ in read.records(limit=1)), last + 1)
    made = [_DECISIONS.decode(record) for _, stream, record in records if stream == DECISIONS]
    own = [decision for decision in made if decision.use_case == use_case]
    return Recent(tuple(reversed(own[-MOST:])), last - oldest + 1)


def feature_ages(decisions: Sequence[Decision], feature_set: FeatureSet) -> list[FeatureAge]:
    """Ages of each feature over decisions that were made with this feature set."""
    own = [decision for decision in decisions if decision.feature_set == feature_set.digest]
    missing = Counter(name for decision in own for name in decision.missing)
    stale = Counter(said.partition(":")[2] for decision in own for said in decision.degraded if said.startswith("stale:"))
    return [_age(name, sorted(decision.ages_us[place] for decision in own), missing, stale) for place, name in enumerate(feature_set.names)]


def _age(name: str, ages: list[int], missing: Mapping[str, int], stale: Mapping[str, int]) -> FeatureAge:
    known = [age for age in ages if age >= 0]
    share = len(ages) or 1
    middle, oldest = (known[len(known) // 2], known[-1]) if known else (None, None)
    return FeatureAge(name, middle, oldest, missing.get(name, 0) / share, stale.get(name, 0) / share)


_DECISIONS = msgspec.msgpack.Decoder(Decision)
