"""Randomness of the operating system, taken a page at a time: to ask for it costs more than a decision's arithmetic."""

import os
import time
from struct import Struct

_DRAWS = Struct("<512Q")
_MANTISSA = 2.0**-53


class Entropy:
    """Gives draws and ids. Any thread may ask; nothing is given twice."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def draw(self) -> float:
        """A uniform number in [0, 1): one of the multiples of 2⁻⁵³, each as likely.

        Example:
            >>> 0.0 <= Entropy().draw() < 1.0
            True
        """
        return (self._number() >> 11) * _MANTISSA

    def new_id(self, prefix: str) -> str:
        """An id that nobody has given before: milliseconds since 1970, then 64 random bits, all in hexadecimal digits.

        The time comes first so that ids of one moment lie beside each other in an index, whose pages are written anew with each.

        Example:
            >>> len(Entropy().new_id("d-"))
            30
        """
        return f"{prefix}{time.time_ns() // 1_000_000:012x}{self._number():016x}"

    def _number(self) -> int:
        while True:
            try:
                # why: one step, which no other thread can come between
                return self._numbers.pop()
            except IndexError:
                self._numbers.extend(_DRAWS.unpack(os.urandom(_DRAWS.size)))
