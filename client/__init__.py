"""The typed client of the HTTP API: `Client` for anyone, `AsyncClient` for many requests a second, `Buffer` to send in the background."""

from client.aio import AsyncClient
from client.buffer import Buffer
from client.client import Client
from client.messages import Answer, Ask, Event, HookReceipt, Outcome, Receipt, Refused

__all__ = ["Answer", "Ask", "AsyncClient", "Buffer", "Client", "Event", "HookReceipt", "Outcome", "Receipt", "Refused"]
