"""Start a flow by its signed webhook, as anyone would, and follow its run to the end."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from client.client import Client
from contracts.errors import StepRefused
from releases.inbox import Inbox
from services.ports import Addresses
from serving.keys import hook_secret, services_key
from storage.layout import Layout

Tell = Callable[[str], None]
"""Told each line that the flow logs."""

_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LOOK_S = 0.3


@dataclass(frozen=True, slots=True)
class Run:
    """A flow run that ended. `state` is Prefect's; `message` is what the flow said last."""

    run_id: str
    state: str
    message: str

    @property
    def completed(self) -> bool:
        """Whether it ended well."""
        return self.state == "COMPLETED"


def trigger(layout: Layout, addresses: Addresses, flow: str, payload: Mapping[str, Any]) -> int:
    """Ask for a flow to run; its row of the inbox.

    Raises:
        RequestFailed: the decision API does not answer, or refuses.
    """
    with Client(addresses.api) as client:
        return client.trigger(flow, dict(payload), hook_secret(layout)).inbox_id


def follow(
    layout: Layout, addresses: Addresses, inbox_id: int, tell: Tell = lambda line: None, stopping: threading.Event | None = None
) -> Run:
    """Wait until what a row of the inbox asked for has ended, or until `stopping` is set.

    Raises:
        KeyboardInterrupt: `stopping` was set.
        StepRefused: the row did not become a run; it says why.
    """
    pause = partial(_pause, stopping or threading.Event())
    run_id = _run_id(layout, inbox_id, pause)
    told = 0
    headers = {"authorization": f"Bearer {services_key(layout)}"}
    with httpx.Client(base_url=f"{addresses.prefect}/api", timeout=10.0, trust_env=False, headers=headers) as client:
        while True:
            try:
                run = client.get(f"/flow_runs/{run_id}").raise_for_status().json()
                told = _tell(client, run_id, told, tell)
                if run["state"]["type"] in _ENDED:
                    return Run(run_id, run["state"]["type"], str(run["state"]["message"]))
            except httpx.HTTPError as error:
                tell(f"Prefect does not answer ({error}); the run goes on")
            pause()


def _pause(stopping: threading.Event) -> None:
    if stopping.wait(LOOK_S):
        raise KeyboardInterrupt


def _run_id(layout: Layout, inbox_id: int, pause: Callable[[], None]) -> str:
    inbox = Inbox(layout.ledger)
    try:
        while (row := inbox.row(inbox_id)).status in ("waiting", "claimed"):
            pause()
    finally:
        inbox.close()
    if row.run_id is None:
        raise StepRefused(f"inbox {row.id}", "become a run", row.reason)
    return row.run_id


def _tell(client: httpx.Client, run_id: str, told: int, tell: Tell) -> int:
    ask = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "offset": told}
    lines: list[dict[str, Any]] = client.post("/logs/filter", json=ask).raise_for_status().json()
    for line in lines:
        tell(str(line["message"]))
    return told + len(lines)
