"""What is asked of an engine, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.clock import DAY_US
from contracts.records import FieldValue

GRACE_US = DAY_US
"""How much later than a row's moment something it has seen may have come in."""


@dataclass(frozen=True)
class Row:
    """A row of a spine."""

    row_id: str
    entity_id: str
    moment: int
    seen_seq: int | None = None
    context: Mapping[str, FieldValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What an engine found for a row; values as hexadecimal text, which differs when a bit does.

    Ages and what is stale are told by some engines only, and do not make two answers differ.
    """

    values: Mapping[str, str]
    missing: tuple[str, ...]
    ages_us: Mapping[str, int] | None = field(default=None, compare=False)
    stale: frozenset[str] | None = field(default=None, compare=False)

    @property
    def freshness(self) -> tuple[Mapping[str, int] | None, frozenset[str] | None]:
        """Ages, and what is stale."""
        return self.ages_us, self.stale
