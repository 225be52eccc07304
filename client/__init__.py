"""The typed client of the HTTP API: `Client` for anyone, `AsyncClient` for many requests a second."""

from client.aio import AsyncClient
from client.client import Client
from client.messages import Answer, Ask, Event, HookReceipt, Outcome, Receipt, Refused

__all__ = ["Answer", "Ask", "AsyncClient", "Client", "Event", "HookReceipt", "Outcome", "Receipt", "Refused"]
