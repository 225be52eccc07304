"""A bad way between the game and the installation: what is sent comes late, comes twice, or comes broken."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from contracts.clock import DAY_US, HOUR_US

LATE, TWICE, BROKEN = 0.05, 0.02, 0.01
"""Shares of what is sent."""

Message = Mapping[str, Any]
"""An event or outcome as JSON has it."""


@dataclass
class Disturbance:
    """Holds back what is on its way, and counts what happens to it: `late`, `twice`, `broken`, or `whole` where it comes as it was sent.

    Attributes:
        sent: how many different messages there were. `broken_ids`: kinds and ids of those that came broken.
    """

    chance: Random
    counts: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    broken_ids: set[tuple[str, str]] = field(default_factory=set)
    _waiting: list[tuple[int, int, str, Message]] = field(default_factory=list)
    _order: int = 0

    def send(self, kind: str, messages: Sequence[Message], due_us: Sequence[int]) -> None:
        """Put events or outcomes on their way: each comes when it is due, or later, or more than once, or so that nobody can read it."""
        for message, due in zip(messages, due_us, strict=True):
            self.sent += 1
            harm = self.chance.choices(("late", "twice", "broken", "whole"), (LATE, TWICE, BROKEN, 1 - LATE - TWICE - BROKEN))[0]
            self.counts[harm] += 1
            match harm:
                case "late":
                    self._put(due + self.chance.randint(2 * HOUR_US, 3 * DAY_US), kind, message)
                case "twice":
                    self._put(due, kind, message)
                    self._put(due + self.chance.choice((0, 1, HOUR_US, 2 * DAY_US)), kind, message)
                case "broken":
                    self.broken_ids.add((kind, message[f"{kind}_id"]))
                    self._put(due, kind, self.chance.choice(_BREAKS[kind])(message))
                case "whole":
                    self._put(due, kind, message)

    def due(self, now_us: int) -> list[tuple[str, Message]]:
        """What comes by now, in the order in which it comes."""
        come = []
        while self._waiting and self._waiting[0][0] <= now_us:
            _, _, kind, message = heapq.heappop(self._waiting)
            come.append((kind, message))
        return come

    @property
    def last_us(self) -> int:
        """When the last of what is on its way comes; 0 when nothing is."""
        return max((at for at, *_ in self._waiting), default=0)

    def _put(self, at_us: int, kind: str, message: Message) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (at_us, self._order, kind, message))


def body(kind: str, messages: Sequence[Message]) -> bytes:
    """The body of a request."""
    return msgspec.json.encode({f"{kind}s": messages})


def _other_type(message: Message) -> Message:
    name = next(iter(message["fields"]))
    return {**message, "fields": {**message["fields"], name: [message["fields"][name]]}}


def _fraction(message: Message) -> Message:
    name = next(iter(message["fields"]))
    return {**message, "fields": {**message["fields"], name: 0.5}}


def _absent(message: Message) -> Message:
    name = next(iter(message["fields"]))
    return {**message, "fields": {key: value for key, value in message["fields"].items() if key != name}}


_BREAKS: Mapping[str, Sequence[Callable[[Message], Message]]] = {
    "event": (
        _other_type,
        _fraction,
        _absent,
        lambda message: {**message, "fields": {**message["fields"], "colour": "red"}},
        lambda message: {**message, "fields": {**message["fields"], next(iter(message["fields"])): None}},
        lambda message: {**message, "type": "sesion"},
        lambda message: {**message, "event_time": "2030-01-05T10:00:00"},
        lambda message: {**message, "event_time": "yesterday"},
        lambda message: {key: value for key, value in message.items() if key != "entity_id"},
        lambda message: {**message, "entity_id": "p/../1"},
        lambda message: {**message, "amount": 3},
    ),
    "outcome": (
        lambda message: {**message, "reward": "12"},
        lambda message: {**message, "reward": 0.5},
        lambda message: {**message, "decision_id": "d-never-made"},
        lambda message: {key: value for key, value in message.items() if key != "reward"},
        lambda message: {**message, "event_time": "2030-01-05T10:00:00"},
        lambda message: {**message, "event_time": 1},
    ),
}
