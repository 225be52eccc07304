"""Two or more things measured in turn, forwards and backwards, the first round thrown away."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def in_turn(things: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each thing gave, a round each: A B B A and so on, behind a first round that does not count."""
    found: dict[str, list[T]] = {name: [] for name in things}
    order = list(things)
    for number in range(rounds + 1):
        for name in order if number % 2 == 0 else reversed(order):
            given = things[name]()
            if number:
                found[name].append(given)
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, str]:
    """Median of the rounds' ratios, and their spread as words."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"
