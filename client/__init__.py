"""The typed client of the HTTP API.

`Client` is for anyone, `AsyncClient` for many requests a second; `Buffer` and `AsyncBuffer` send in the background.
"""

from client.aio import AsyncClient
from client.aio_buffer import AsyncBuffer
from client.buffer import Buffer
from client.client import Client
from client.messages import Answer, Ask, Event, HookReceipt, Outcome, Receipt, Refused

__all__ = ["Answer", "Ask", "AsyncBuffer", "AsyncClient", "Buffer", "Client", "Event", "HookReceipt", "Outcome", "Receipt", "Refused"]
