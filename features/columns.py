"""Events, rows and values as columns in memory, and keys by which they are ordered and found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

_KEY_BITS = 62


@dataclass(frozen=True, slots=True)
class Field:
    """Values of one field of events.

    Attributes:
        values: (n,) numbers, truth values as 0 and 1, texts as positions in `texts`; 0 where absent.
        present: (n,) where there is a value; none when all are there.
        texts: each text once; none for numbers and truth values.
    """

    values: Ints
    present: Mask | None = None
    texts: Sequence[str] | None = None

    def take(self, at: Ints) -> "Field":
        """The values at some positions."""
        return Field(self.values[at], None if self.present is None else self.present[at], self.texts)


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one type, ordered by `(entity, time, event_id)`; all columns (n,), entities as codes from 0.

    Attributes:
        ingested: none if no row is judged by it, as for `seq`.
    """

    entity: Ints
    time: Ints
    fields: Mapping[str, Field]
    ingested: Ints | None = None
    seq: Ints | None = None

    def take(self, at: Ints) -> "Events":
        """The events at some positions."""
        fields = {name: field.take(at) for name, field in self.fields.items()}
        ingested, seq = (None if stamps is None else stamps[at] for stamps in (self.ingested, self.seq))
        return Events(self.entity[at], self.time[at], fields, ingested, seq)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to compute; all columns (m,).

    Attributes:
        seen: the newest `seq` that was seen; −1 where what was ingested by the moment was.
        order: positions in order of `(entity, moment)`, in which looking things up is quick.
    """

    entity: Ints
    moment: Ints
    seen: Ints
    order: Ints

    @classmethod
    def build(cls, entity: Ints, moment: Ints, seen: Ints) -> "Rows":
        """Rows, with their order found."""
        return cls(entity, moment, seen, ordered(entity, moment))

    def take(self, at: Ints) -> "Rows":
        """The rows at some positions."""
        return Rows.build(self.entity[at], self.moment[at], self.seen[at])


@dataclass(frozen=True, slots=True)
class Values:
    """A feature of all rows.

    Attributes:
        numbers: (m,) meaningless where there is no value.
        present: (m,) whether there is one.
        newest: (m,) time of the newest event or row used.
    """

    numbers: Floats
    present: Mask
    newest: Ints

    @classmethod
    def blank(cls, rows: int) -> "Values":
        """No value in any row."""
        return cls(np.zeros(rows), np.zeros(rows, bool), np.zeros(rows, np.int64))


def ordered(entity: Ints, time: Ints, *, in_runs: bool = False) -> Ints:
    """Positions in order of `(entity, time)`, equal pairs in any order; quicker still where a few ordered runs lie one after the other."""
    order: Ints = np.argsort(Keys(entity, time).keys, kind="stable" if in_runs else "quicksort")
    return order


def put(whole: Mapping[str, Values], at: Ints, part: Mapping[str, Values]) -> None:
    """Put the features of some rows, by their positions, into those of all."""
    for name, values in part.items():
        whole[name].numbers[at] = values.numbers
        whole[name].present[at] = values.present
        whole[name].newest[at] = values.newest


class Keys:
    """Pairs of entity and number as one integer that orders like them."""

    def __init__(self, entity: Ints, numbers: Ints) -> None:
        self._lowest = int(numbers.min()) if len(numbers) else 0
        self._span = (int(numbers.max()) - self._lowest + 1) if len(numbers) else 1
        self._bits = self._span.bit_length()
        self._ranks: Ints | None = None
        if self._bits + int(entity.max(initial=0)).bit_length() > _KEY_BITS:
            self._ranks = np.unique(numbers)
            self._bits = len(self._ranks).bit_length()
        self.keys = self.pack(entity, numbers)

    def pack(self, entity: Ints, numbers: Ints) -> Ints:
        """The keys of pairs; numbers outside of those known count as just outside."""
        if self._ranks is not None:
            inner = np.searchsorted(self._ranks, numbers)
        else:
            inner = np.clip(numbers, self._lowest, self._lowest + self._span) - self._lowest
        keys: Ints = (entity.astype(np.int64) << self._bits) + inner
        return keys
