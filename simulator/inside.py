"""The way into a decision service of the same process: what `client.aio` is over HTTP, without HTTP."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec

from client.messages import Answer, Event, Outcome, Receipt
from contracts.records import FieldValue
from serving.intake import receipt
from serving.messages import EventMessage, OutcomeMessage
from serving.service import DecisionService


class Inside:
    """A door of `simulator.drive` to a service that is open in this process."""

    def __init__(self, service: DecisionService) -> None:
        self._service = service

    async def decide(
        self, use_case: str, entity_id: str, context: Mapping[str, FieldValue] | None = None, decision_id: str | None = None
    ) -> Answer:
        """As `client.aio.AsyncClient.decide`."""
        decision = await asyncio.wrap_future(self._service.submit(use_case, entity_id, context or {}, decision_id))
        return msgspec.convert(self._service.answer(decision), Answer, from_attributes=True)

    async def send_events(self, use_case: str, events: Iterable[Event]) -> Receipt:
        """As `client.aio.AsyncClient.send_events`."""
        sent = msgspec.convert(list(events), list[EventMessage], from_attributes=True)
        parts = await asyncio.gather(*(asyncio.wrap_future(part) for part in self._service.submit_events(use_case, sent)))
        return msgspec.convert(receipt(parts), Receipt, from_attributes=True)

    async def send_outcomes(self, use_case: str, outcomes: Iterable[Outcome]) -> Receipt:
        """As `client.aio.AsyncClient.send_outcomes`."""
        sent = msgspec.convert(list(outcomes), list[OutcomeMessage], from_attributes=True)
        parts = await asyncio.gather(*(asyncio.wrap_future(part) for part in self._service.submit_outcomes(use_case, sent)))
        return msgspec.convert(receipt(parts), Receipt, from_attributes=True)
