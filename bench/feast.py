"""Feast beside us, where an interpreter that has it is at hand: what `bench/peers/feast_online.py` prints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import peers

NONE = "Feast is not at hand, so it was not measured"


@dataclass(frozen=True, slots=True)
class Reading:
    """Microseconds of a read of twenty features from Feast's SQLite store; 0 where it was not measured."""

    one_us: float
    many_us: float
    words: str


def read(folder: Path, seed: int) -> Reading:
    """Time Feast's `get_online_features` for one entity and for 100."""
    found = _run(folder, seed)
    if found is None:
        return Reading(0.0, 0.0, NONE)
    words = f"Feast {found['version']}, SQLite: {found['one_us']:.0f} µs for one entity, {found['many_us']:.0f} µs for 100"
    return Reading(found["one_us"], found["many_us"], words)


def push(folder: Path, seed: int) -> str:
    """Time Feast's `push`, in words."""
    found = _run(folder, seed)
    if found is None:
        return NONE
    return f"Feast {found['version']}, SQLite: push of a row {found['push_ms']:.1f} ms, {found['rows_per_s']:,.0f} rows/s written at once"


def _run(folder: Path, seed: int) -> Mapping[str, Any] | None:
    interpreter = peers.python()
    if interpreter is None:
        return None
    folder.mkdir(parents=True)
    return peers.run("feast_online", str(folder), str(seed), interpreter=interpreter)
