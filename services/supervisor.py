"""The supervisor: starts the services in parallel, starts again what dies, ends everything when it ends."""

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from subprocess import Popen

import msgspec

from contracts.errors import ServiceFailed
from contracts.settings import Settings
from monitoring.prometheus import write_configuration, write_targets
from services import ports, state
from services.catalog import Service, services
from services.credentials import make_credentials
from services.environment import resolved
from services.ports import LOOPBACK, Addresses
from services.processes import end_all, instance_of, start
from services.state import ServiceState, Stage, State
from serving.certificate import Renewals, write_certificate
from serving.environment import short_folder
from serving.readers import Readers
from storage.layout import Layout
from use_cases.definition import load_all

ATTEMPTS = 6
"""Starts in a row that came to nothing, after which a service is given up."""

BACKOFF_S = (0.2, 1.0, 3.0, 8.0, 15.0, 30.0)
STEADY_S = 60.0
"""A service that was ready for this long has its earlier failures forgiven."""

LOOK_S = 0.1
WATCH_S = 1.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LOG = logging.getLogger(__name__)


class Supervisor:
    """Keeps an installation's services running, a thread each.

    Args:
        settings: of the installation.
        addresses: where it listens.
        chosen: its services.
        on_change: called, from any thread, with the new state each time a service changes.
        stopping: set by whoever wants it to end.
    """

    def __init__(
        self,
        settings: Settings,
        addresses: Addresses,
        chosen: Sequence[Service],
        on_change: Callable[[State], None] = lambda _: None,
        stopping: threading.Event | None = None,
    ) -> None:
        self.addresses = addresses
        self.settings = settings
        self.layout = Layout(settings.folder)
        self._on_change = on_change
        self._services = {service.name: service for service in chosen}
        self._instance = instance_of(self.layout.root)
        self.stopping = stopping or threading.Event()
        self._changed = threading.Condition()
        self._states = {service.name: ServiceState(service.name, service.title, service.address) for service in self._services.values()}
        self._anew: set[str] = set()
        self._began_s = time.time()
        self._pool = ThreadPoolExecutor(len(self._services), thread_name_prefix="keep")
        self._work: list[Future[None]] = []

    @property
    def state(self) -> State:
        """How everything is now."""
        with self._changed:
            return State(os.getpid(), self._began_s, tuple(self._states.values()))

    def start(self) -> None:
        """Start everything, as far as possible at once, and go on watching it."""
        self._note()
        self._work = [self._pool.submit(self._keep, service) for service in self._services.values()]

    def wait_until_ready(self, timeout_s: float | None = None) -> State:
        """Wait until everything answers, a service has been given up, or `stopping` was set.

        Raises:
            ServiceFailed: decisions cannot be served.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.stopping.is_set() and (until is None or time.monotonic() < until):
            self.check()
            if all(service.stage in ("ready", "failed") for service in self.state.services):
                break
            with self._changed:
                self._changed.wait(LOOK_S)
        return self.state

    def check(self) -> None:
        """Raise what made the supervision of a service end, if anything did.

        Raises:
            ServiceFailed: an essential service was given up.
        """
        done, _ = wait(self._work, timeout=0, return_when=FIRST_EXCEPTION)
        for work in done:
            work.result()

    def stop(self) -> None:
        """End every process of the installation, and return when none is left."""
        self.stopping.set()
        end_all(self._instance)
        self._pool.shutdown()
        end_all(self._instance)
        for name in self._services:
            self._set(name, "ended", pid=0)
        shutil.rmtree(short_folder(self.settings), ignore_errors=True)

    def _keep(self, service: Service) -> None:
        failures = 0
        while self._begun(service):
            end_all(self._instance, service.name, term_s=0.0)
            self._anew.discard(service.name)
            started_s, began = time.time(), time.monotonic()
            process = start(service.command, service.variables, self.layout.logs / f"{service.name}.log", service.niceness)
            self._set(service.name, "starting", pid=process.pid, starts=self._states[service.name].starts + 1, reason="")
            reason, ready_s = self._watch(service, process, started_s, began)
            end_all(self._instance, service.name)
            process.wait()
            if self.stopping.is_set():
                return
            failures = 1 if ready_s > STEADY_S else failures + 1
            _LOG.warning("%s %s", service.name, reason)
            if failures >= ATTEMPTS:
                self._set(service.name, "failed", reason=f"{reason}; given up after {failures} starts")
                if service.essential:
                    raise ServiceFailed(service.name, f"{reason}, {failures} times in a row", str(self.layout.logs / f"{service.name}.log"))
                return
            self._set(service.name, "broken", reason=reason)
            if service.act and failures % 2 == 0:
                # why: what it acts on may be alive and yet sick
                self._anew.update(service.upon)
            self.stopping.wait(BACKOFF_S[failures - 1])

    def _watch(self, service: Service, process: Popen[bytes], started_s: float, began: float) -> tuple[str, float]:
        """Watch a started service until it must be started anew: why, and for how long it had been ready."""
        starts = {name: self._states[name].starts for name in service.upon}
        ready_since = answered = 0.0
        while not self.stopping.wait(WATCH_S if ready_since else LOOK_S):
            now = time.monotonic()
            ready_s = now - ready_since if ready_since else 0.0
            code = process.poll()
            if code is not None and not (service.act and code == 0):
                return f"ended with {code}{self._last_words(service)}", ready_s
            if service.name in self._anew:
                return "is started anew, for what depends on it", ready_s
            if service.act and any(self._states[name].starts != count for name, count in starts.items()):
                return f"must be done anew: {' or '.join(starts)} was started anew", STEADY_S + 1.0
            if (code is not None or not service.act) and (service.ready is None or service.ready.holds(started_s)):
                answered = now
                if not ready_since:
                    ready_since = now
                    self._set(service.name, "ready", ready_after_s=time.monotonic() - began)
            elif ready_since and now - answered > service.silence_s:
                return f"did not answer for {service.silence_s:.0f} s", ready_s
            elif not ready_since and now - began > service.patience_s:
                return f"was not ready after {service.patience_s:.0f} s", 0.0
        return "", 0.0

    def _last_words(self, service: Service) -> str:
        with (self.layout.logs / f"{service.name}.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2_000))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return f" ({_COLOURS.sub('', lines[-1]).strip()[:200]})" if lines else ""

    def _begun(self, service: Service) -> bool:
        """Wait until what an act is done upon was started; False when the end was asked for instead."""
        while not self.stopping.is_set():
            if all(self._states[name].stage in ("starting", "ready") for name in service.upon):
                return True
            with self._changed:
                self._changed.wait(LOOK_S)
        return False

    def _set(self, name: str, stage: Stage, **changes: object) -> None:
        with self._changed:
            known = self._states[name]
            self._states[name] = msgspec.structs.replace(known, stage=stage, since_s=time.time(), **changes)
            self._note()
            self._changed.notify_all()

    def _note(self) -> None:
        with self._changed:
            now = self.state
            state.write(self.layout, now)
        self._on_change(now)


@contextmanager
def supervised(
    settings: Settings, on_change: Callable[[State], None] = lambda _: None, stopping: threading.Event | None = None
) -> Iterator[Supervisor]:
    """Run an installation for the length of a block: everything starts with it, and ends with it, however it ends.

    What an earlier supervisor of this state left behind is ended first. Setting `stopping` makes waiting for readiness end.

    Raises:
        StateRefused: another process runs this installation, or its state is of another kind.
        SettingsError: a port is taken; the certificate for TLS cannot be used.
        NotFound, DefinitionError: a use case is not there, or written wrongly.
    """
    layout = Layout(settings.folder)
    with ExitStack() as stack:
        stack.enter_context(state.claimed(layout))
        end_all(instance_of(layout.root))
        load_all(settings.use_cases, settings.approvers)
        make_credentials(settings)
        write_certificate(settings)
        addresses = ports.choose(settings, ports.read(layout))
        ports.write(layout, addresses)
        write_targets(layout, {"exporter": f"{LOOPBACK}:{addresses.ports.metrics}", "serving": f"{LOOPBACK}:{addresses.ray.metrics}"})
        write_configuration(layout)
        known = resolved(settings, addresses)
        supervisor = Supervisor(known, addresses, services(known, layout, addresses), on_change, stopping)
        stack.callback(supervisor.stop)
        supervisor.start()
        if settings.serving.tls_certificate:
            Renewals(known, supervisor.stopping).start()
        Readers(known, supervisor.stopping).start()
        yield supervisor
