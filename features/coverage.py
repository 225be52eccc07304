"""How far back all states of a use case reach: written down in the journal, so that no feature is read from states that know too little.

`kept` is what every process keeps from now on, `covered` what all states hold. A feature set with a longer window raises `kept` at once;
`covered` follows when the states have been made anew from the tables.
"""

from collections.abc import Mapping

import msgspec

from storage.transaction import Read, Write


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Microseconds for each event type."""

    kept: dict[str, int]
    covered: dict[str, int]

    def covers(self, needed: Mapping[str, int]) -> bool:
        """Whether states hold everything that windows of these lengths count."""
        return all(length_us <= self.covered.get(name, 0) for name, length_us in needed.items())


NOTHING = Coverage({}, {})


def read_coverage(read: Read, use_case: str) -> Coverage:
    """What is written down; nothing before anything was."""
    found = read.get_meta(_name(use_case))
    return NOTHING if found is None else _DECODER.decode(found)


def keep(write: Write, use_case: str, needed: Mapping[str, int], *, empty: bool) -> Coverage:
    """Keep events for at least so long from now on; covered at once where the tables are `empty` and there is no state yet."""
    before = read_coverage(write, use_case)
    kept = longest(before.kept, needed)
    fresh = empty and not write.states(use_case, limit=1)
    return _put(write, use_case, Coverage(kept, kept if fresh else before.covered))


def cover(write: Write, use_case: str, held: Mapping[str, int]) -> Coverage:
    """Say that all states hold so much, now that they have been made anew."""
    before = read_coverage(write, use_case)
    return _put(write, use_case, Coverage(longest(before.kept, held), longest(before.covered, held)))


def longest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The longer of two lengths, for each type.

    Example:
        >>> longest({"a": 1, "b": 5}, {"b": 3, "c": 2})
        {'a': 1, 'b': 5, 'c': 2}
    """
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in dict.fromkeys((*one, *other))}


def _put(write: Write, use_case: str, coverage: Coverage) -> Coverage:
    write.put_meta(_name(use_case), msgspec.json.encode(coverage))
    return coverage


def _name(use_case: str) -> str:
    return f"coverage:{use_case}"


_DECODER = msgspec.json.Decoder(Coverage)
