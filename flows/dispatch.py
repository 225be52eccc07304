"""The dispatcher: `python -m flows.dispatch` turns every row of the inbox into a flow run, or a reason why not, and watches roll-outs."""

import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import httpx
import psutil

from contracts.clock import Clock
from contracts.errors import StoreUnavailable
from contracts.settings import Settings
from flows.guard import Guard
from flows.place import settings_here
from releases.inbox import Inbox, InboxRow
from releases.ledger import Ledger
from serving.keys import services_key
from serving.operations import Desk
from storage.installation import open_installation
from storage.layout import Layout
from use_cases.definition import load_all

LEASE_S = 60.0
LOOK_S = 0.3
RECONCILE_S = 5.0
MAX_STARTS = 3
"""Starts of a flow run whose process died each time, after which it stays crashed."""

ASLEEP_S = 15.0
"""How long the guard may be without a look at all roll-outs; after that the process counts as dead."""

GRACE_S = 20.0
"""How long a run may be without a process: it is being started, or is about to say how it ended."""

FOR_ALL = "all"
"""The deployment of flows that have no use case."""


@dataclass(frozen=True)
class Dispatcher:
    """Works off the inbox against Prefect's REST API, so that starting it takes no import of Prefect.

    Attributes:
        client: whose base address is Prefect's API.
        name: of this claimant; no two may share it.
    """

    inbox: Inbox
    client: httpx.Client
    clock: Clock
    use_cases: tuple[str, ...]
    name: str

    def work_off(self) -> int:
        """Take open rows until none is left or Prefect cannot be reached; how many ended."""
        ended = 0
        while (row := self.inbox.claim(self.name, time.time(), LEASE_S, self.clock.now_us())) is not None:
            try:
                run_id = self._start(row)
            except httpx.HTTPError as error:
                print(f"inbox {row.id}: Prefect cannot start it now ({error}); it waits", flush=True)
                self.inbox.give_back(row.id, self.name)
                break
            except Unfit as error:
                print(f"inbox {row.id}: {error}", flush=True)
                self.inbox.fail(row.id, self.name, str(error), self.clock.now_us())
            else:
                print(f"inbox {row.id}: {row.name} runs as {run_id}", flush=True)
                self.inbox.finish(row.id, self.name, run_id, self.clock.now_us())
            ended += 1
        return ended

    def reconcile(self) -> list[str]:
        """Find runs whose process is gone, though Prefect thinks that they run: start them again, or say that they crashed; their ids."""
        ask = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
        found = self.client.post("/flow_runs/filter", json=ask)
        found.raise_for_status()
        suspects = [run for run in found.json() if time.time() - _seconds(run["state"]["timestamp"]) > GRACE_S]
        alive = _running() if suspects else set()
        gone = [run for run in suspects if run["id"] not in alive]
        for run in gone:
            again = run["run_count"] < MAX_STARTS and run["state"]["type"] != "CANCELLING"
            said = "its process is gone; it is started again" if again else "its process is gone"
            state = {"type": "SCHEDULED" if again else "CRASHED", "name": "Restarting" if again else "Crashed", "message": said}
            print(f"run {run['name']}: {said}", flush=True)
            self.client.post(f"/flow_runs/{run['id']}/set_state", json={"state": state, "force": True}).raise_for_status()
        return [run["id"] for run in gone]

    def _start(self, row: InboxRow) -> str:
        deployment = self._deployment(row)
        answer = self.client.get(f"/deployments/name/{row.name}/{deployment}")
        if answer.status_code == 404:
            raise Unfit(f"there is no deployment {row.name}/{deployment}")
        answer.raise_for_status()
        parameters = {name: value for name, value in row.payload.items() if deployment == FOR_ALL or name != "use_case"}
        body = {
            "state": {"type": "SCHEDULED"},
            "parameters": answer.json()["parameters"] | parameters,
            "idempotency_key": f"inbox-{row.id}",
            "tags": [f"inbox-{row.id}", row.source],
        }
        made = self.client.post(f"/deployments/{answer.json()['id']}/create_flow_run", json=body)
        if made.status_code in (409, 422):
            raise Unfit(f"Prefect refuses its payload: {made.json().get('detail', made.text)}")
        made.raise_for_status()
        return str(made.json()["id"])

    def _deployment(self, row: InboxRow) -> str:
        if row.name not in ("train", "features", "rollout"):
            return FOR_ALL
        named = row.payload.get("use_case", self.use_cases[0] if len(self.use_cases) == 1 else None)
        if named not in self.use_cases:
            raise Unfit(f"its payload must name a `use_case`, one of {', '.join(self.use_cases)}; it says {named!r}")
        return str(named)


class Unfit(Exception):
    """A row that can never become a run; the text says why."""


def _running() -> set[str]:
    """The flow runs that have a living process."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
        except (psutil.Error, OSError):
            continue
    return found


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


class Watch(threading.Thread):
    """Watches roll-outs in a thread of its own until `ended` is set: an orchestrator that hangs must not delay a stop."""

    def __init__(self, settings: Settings, ended: threading.Event) -> None:
        super().__init__(name="guard")
        self._settings = settings
        self._ended = ended
        self._looked_s = -math.inf

    @property
    def awake(self) -> bool:
        """Whether it runs, and looked at all roll-outs a short time ago."""
        return self.is_alive() and time.monotonic() - self._looked_s < ASLEEP_S

    def run(self) -> None:
        """Open the installation and look, again and again; whatever fails is said, and tried again."""
        while not self._ended.is_set():
            try:
                self._look_on()
            except StoreUnavailable as error:
                print(f"guard: {error}", flush=True)
                self._ended.wait(1.0)
            except Exception:  # noqa: BLE001  why: whatever it is, it is said each time, and must not end the watch nor the inbox
                traceback.print_exc()
                print("guard: looking at roll-outs failed; canaries are not watched until it succeeds", file=sys.stderr, flush=True)
                self._ended.wait(5.0)

    def _look_on(self) -> None:
        settings, layout = self._settings, Layout(self._settings.folder)
        clock = open_installation(layout, settings.clock).clock
        with closing(Ledger(layout.ledger)) as ledger, closing(Inbox(layout.ledger)) as inbox:
            guard = Guard(Desk(layout, ledger, load_all(settings.use_cases, settings.approvers), clock), inbox)
            while not self._ended.wait(LOOK_S):
                for said in guard.look():
                    print(f"guard: {said}", flush=True)
                self._looked_s = time.monotonic()


def run(settings: Settings, ended: threading.Event) -> None:
    """Dispatch, watch roll-outs and reconcile until `ended` is set, or an error that nobody foresaw ends all of it.

    `run/dispatcher.beat` is touched only while both go on, so that the supervisor starts the process again when one does not.
    """
    watch = Watch(settings, ended)
    watch.start()
    try:
        _dispatch(settings, ended, watch)
    finally:
        ended.set()
        watch.join()


def _dispatch(settings: Settings, ended: threading.Event, watch: Watch) -> None:
    layout = Layout(settings.folder)
    clock = open_installation(layout, settings.clock).clock
    address = os.environ.get("PREFECT_API_URL", f"http://127.0.0.1:{settings.ports.prefect}/api")
    reconciled = time.monotonic()
    with (
        closing(Inbox(layout.ledger)) as inbox,
        httpx.Client(base_url=address, timeout=10.0, trust_env=False, auth=with_key(layout)) as client,
    ):
        dispatcher = Dispatcher(inbox, client, clock, settings.use_cases, f"dispatcher-{os.getpid()}-{time.time_ns()}")
        while not ended.wait(LOOK_S):
            if watch.awake:
                (layout.run / "dispatcher.beat").touch()
            try:
                dispatcher.work_off()
                if time.monotonic() - reconciled > RECONCILE_S:
                    reconciled = time.monotonic()
                    dispatcher.reconcile()
            except httpx.HTTPError as error:
                print(f"Prefect does not answer ({error})", flush=True)
                ended.wait(1.0)
            except StoreUnavailable as error:
                print(error, flush=True)
                ended.wait(1.0)


def with_key(layout: Layout) -> Callable[[httpx.Request], httpx.Request]:
    """Puts the key of the installation's own processes on each request, as it is by then."""

    def keyed(request: httpx.Request) -> httpx.Request:
        request.headers["authorization"] = f"Bearer {services_key(layout)}"
        return request

    return keyed


def main() -> int:
    """Run until told to end."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    run(settings_here(), ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
