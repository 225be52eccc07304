"""R5: MLflow, Prefect, the flows' worker, the metrics, the attributes' PostgreSQL and the ledger down in turn: decisions go on.

What waited meanwhile is worked off. A neighbour is down to the end of its time, also where supervision starts it anew.
"""

import argparse
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import polars as pl
import psutil

from bench import postgresql
from bench.acknowledged import check
from bench.outage import REPLICA, Traffic, Try, ended, hit, processes, seconds_until, service_of
from bench.rows import Figure, Measurement
from bench.served import Served, served
from client import Client
from contracts.clock import DAY_US
from contracts.errors import RequestFailed, ToolMissing
from releases.inbox import Inbox
from serving.keys import hook_secret
from storage.journal import Journal
from storage.tables import Tables

USE_CASE = "email_promotion"
"""The one that reads attributes from a table."""

PATIENCE_S = 150.0
SETTLE_S = 0.5
SURELY = 0.95
"""Of its time, what each must have been down at least: supervision may start it anew a moment before the end."""

_HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
    print("held", flush=True)
    sys.stdin.read()
"""
CUSTOMERS = "recency_months int, history_cents int, bought_mens bool, bought_womens bool, zip_code text, newbie bool, channel text"
COLUMNS = f"entity_id text, valid_from bigint, recorded_at bigint, {CUSTOMERS}"


NEIGHBOURS: Mapping[str, Sequence[str]] = {
    "mlflow": ("mlflow",),
    "prefect": ("prefect",),
    "flows": ("worker", "dispatcher"),
    "metrics": ("exporter",),
    "postgresql": (),
    "ledger": (),
}
"""What is down in turn, and the services that it consists of, where they are the installation's own."""

IsDown: TypeAlias = Callable[[], bool]
"""Says whether what a fault was done to is down now."""


@dataclass(frozen=True, slots=True)
class Down:
    """What came of one of them being down: between which moments, and for how many seconds it really was.

    Attributes:
        killed_s: when a replica was killed, which had to start without it; it was gone at `gone_s`, and as many answered again
            `replica_back_s` later. `worked_off_s`: how long what waited took, once it was up again.
    """

    name: str
    since_s: float
    until_s: float
    down_s: float
    killed_s: float
    gone_s: float
    replica_back_s: float
    worked_off_s: float

    def failed(self, tries: Sequence[Try]) -> list[Try]:
        """Of what was asked until all was worked off, what failed and was not in flight when the replica died."""
        asked = [one for one in tries if self.since_s <= one.asked_s < self.until_s and one.status != 200]
        return [one for one in asked if one.asked_s > self.gone_s or one.ended_s < self.killed_s]


def measure(options: Sequence[str]) -> Measurement:
    """Let each be down for a while, kill a replica meanwhile, which must start without it, and ask for a flow to run."""
    parser = argparse.ArgumentParser(prog="make target ROW=R5 ARGS=…")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--down", type=float, default=60.0, help="seconds")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    parser.add_argument("--only", default="", help=f"names, with commas between: {', '.join(NEIGHBOURS)}")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    try:
        with postgresql.running(_free_port()) as database:
            database.do(f"CREATE TABLE customers ({COLUMNS})")
            return _measure(chosen, database)
    except ToolMissing as error:
        return _measure(chosen, None, f"PostgreSQL WAS NOT DOWN, SINCE IT IS NOT HERE: {error}")


def _measure(chosen: argparse.Namespace, database: postgresql.Server | None, *said: str) -> Measurement:
    more = {} if database is None else {"OFFERLOOP_ATTRIBUTE_SOURCES__CUSTOMER": database.url}
    downs: list[Down] = []
    with served(USE_CASE, chosen.replicas, more) as running:
        faults: dict[str, Callable[[], AbstractContextManager[IsDown]]] = {
            **{name: partial(_services_stopped, running, names) for name, names in NEIGHBOURS.items() if names},
            **({} if database is None else {"postgresql": lambda: _server_stopped(database.pid)}),
            "ledger": lambda: _locked(running.desk.layout.ledger),
        }
        wanted = chosen.only.split(",") if chosen.only else list(faults)
        with Traffic(running, USE_CASE, rate=chosen.rate, seed=chosen.seed, patience_s=30.0) as traffic:
            for number, name in enumerate(wanted):
                downs.append(_down(running, traffic, name, faults[name], chosen, database, number))
        findings = check(running.desk.layout, running.desk.use_cases[USE_CASE].schema, traffic.history)
    failed = {down.name: down.failed(traffic.tries) for down in downs}
    figures = (
        Figure("neighbours that were down", float(len(downs)), float(len(wanted)), "", at_most=False),
        Figure("the shortest that one of them was down", min(down.down_s for down in downs), SURELY * chosen.down, "s", at_most=False),
        *(Figure(f"raw requests that failed while {name} was down", float(len(tries)), 0.0, "") for name, tries in failed.items()),
        Figure("requests that failed through the client", float(len(traffic.failed)), 0.0, ""),
        Figure("refused without Retry-After", float(len(traffic.silent)), 0.0, ""),
        Figure("slowest start of a replica without one of them", max(down.replica_back_s for down in downs), 60.0, "s"),
        *(Figure(f"what waited for {down.name} worked off", down.worked_off_s, 60.0, "s") for down in downs),
        Figure("acknowledged and lost", float(len(findings.lost)), 0.0, ""),
        Figure("kept twice, or answered in two ways", float(len(findings.doubled) + len(findings.differing)), 0.0, ""),
    )
    notes = [
        *said,
        f"each down for {chosen.down:.0f} s: stopped with SIGSTOP, so that who asks it waits (supervision starts anew what has "
        "not answered for a minute); the ledger locked for readers too",
        f"seconds: {', '.join(f'{down.name} {down.down_s:.0f}' for down in downs)}; a replica was killed a quarter in",
        f"{traffic.asked} requests through the typed client, {len(traffic.tries)} that ask once; those in flight at the kill are left out",
        "what waited: runs of the flow `features`, asked for when it went down (but of the ledger) and when it was back, what these have "
        "to move from the journal into tables, and attributes that came meanwhile",
        f"seconds until a killed replica was back: {', '.join(f'{down.name} {down.replica_back_s:.0f}' for down in downs)}",
        "there is no decision log and no ledger in PostgreSQL here: the log is LMDB, the ledger SQLite; Grafana is never asked anything",
        *(f"failed beside {name}: {one.status} {one.said}" for name, tries in failed.items() for one in tries[:2]),
        *traffic.failed[:3],
        *traffic.silent[:3],
        *([str(findings)] if str(findings) else []),
    ]
    return Measurement("R5", figures, tuple(notes))


def _down(
    running: Served,
    traffic: Traffic,
    name: str,
    fault: Callable[[], AbstractContextManager[IsDown]],
    chosen: argparse.Namespace,
    database: postgresql.Server | None,
    number: int,
) -> Down:
    if database is not None:
        now_us = running.desk.clock.now_us()
        row = f"('new-{number}', {now_us - DAY_US}, {now_us}, 1, 100, true, false, 'Urban', false, 'Web')"
        database.do(f"INSERT INTO customers VALUES {row}")
    since_s = time.monotonic()
    with fault() as is_down:
        asked_for = [_ask_for_features(running, f"{name}-{chosen.seed}")] if name != "ledger" else []
        time.sleep(chosen.down / 4)
        victim = processes(running, REPLICA)[0]
        killed_s = time.monotonic()
        was_down = is_down()
        hit([victim])
        seconds_until(lambda: ended(victim), PATIENCE_S, 0.001)
        gone_s = time.monotonic()
        back_s = seconds_until(lambda: len(running.replicas()) == chosen.replicas, PATIENCE_S)
        # why: who is started anew by supervision is not down any more
        seconds_until(lambda: not is_down(), since_s + chosen.down - time.monotonic())
        down_s = time.monotonic() - since_s if was_down else 0.0
    # why: where the run that was asked for did not have to wait, it has left what came behind it
    asked_for = [*asked_for, _ask_for_features(running, f"{name}-{chosen.seed}-after")]
    until = _newest(running)
    worked_off_s = seconds_until(lambda: _worked_off(running, asked_for, until, f"new-{number}" if database else ""), PATIENCE_S)
    return Down(name, since_s, time.monotonic(), down_s, killed_s, gone_s, back_s, worked_off_s)


def _ask_for_features(running: Served, hook_id: str) -> int:
    with Client(running.address, patience_s=30.0) as client:
        secret = hook_secret(running.desk.layout)
        try:
            return client.trigger("features", {"use_case": USE_CASE}, secret, hook_id).inbox_id
        except RequestFailed:
            return client.trigger("features", {"use_case": USE_CASE}, secret, f"{hook_id}-again").inbox_id


def _newest(running: Served) -> int:
    """The position up to which the journal holds something now, by what the tables hold and what has come since."""
    journal = Journal(running.desk.layout.journal, running.settings.store.map_size_bytes)
    try:
        with journal.read() as read:
            return read.last_position()
    finally:
        journal.close()


def _worked_off(running: Served, asked_for: Sequence[int], position: int, entity_id: str) -> bool:
    with closing(Inbox(running.desk.layout.ledger)) as inbox:
        if any(inbox.row(number).status != "run" for number in asked_for):
            return False
    tables = Tables(running.desk.layout.tables)
    if tables.manifest().position < position:
        return False
    latest = running.desk.layout.latest(USE_CASE)
    if not entity_id:
        return True
    return latest.exists() and entity_id in pl.read_parquet(latest)["row_id"].to_list()


def _services_stopped(running: Served, names: Sequence[str]) -> AbstractContextManager[IsDown]:
    return _stopped([process for name in names for process in service_of(running, name)])


@contextmanager
def _stopped(found: Sequence[psutil.Process]) -> Iterator[IsDown]:
    hit(found, signal.SIGSTOP)
    try:
        yield lambda: bool(found) and all(_is_stopped(one) for one in found)
    finally:
        hit(found, signal.SIGCONT)


@contextmanager
def _server_stopped(pid: int) -> Iterator[IsDown]:
    """PostgreSQL, whose first process begins all others: stopped first, it begins none, and who ends then is left behind as a zombie."""
    first = psutil.Process(pid)
    with _stopped([first]):
        time.sleep(SETTLE_S)
        with _stopped([first, *(one for one in first.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE)]) as is_down:
            yield is_down


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _locked(ledger: Path) -> Iterator[IsDown]:
    """Nobody may read or write: a process holds all locks that SQLite takes for either, at bytes 120 to 127 of the index of its log.

    Source: "WAL-mode File Format", section 2.3, sqlite.org. A process of its own, since such locks end with any closing of the file.
    """
    command = [sys.executable, "-c", _HOLD, f"{ledger}-shm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        try:
            held = holder.stdout.readline() == b"held\n"
            yield lambda: held and holder.poll() is None
        finally:
            holder.stdin.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
