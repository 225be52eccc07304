"""R6: feature states missing, damaged or behind, the store locked, its map full: answers say so, or are refused, and it mends by itself."""

import argparse
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import msgspec

from bench.acknowledged import History, compare
from bench.outage import REPLICA, made_event, processes, seconds_until
from bench.rows import Figure, Measurement
from bench.served import Served, served
from client.messages import Answer
from contracts.clock import DAY_US
from contracts.records import FieldValue
from features.definitions import Attribute, FeatureSet
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import register, to_champion, to_shadow
from serving.deciding import DAMAGED
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables
from storage.transaction import Write
from storage.watch import LOOK_S
from training.train import start_parts
from use_cases.definition import UseCase

PATIENCE_S = 60.0
BACK_S = 15.0
LOCKED_S = 8.0
FILLING_S = 90.0
PART = 1_000


def measure(options: Sequence[str]) -> Measurement:
    """Do each to a running installation, look at every answer, and see that the same processes answer as declared afterwards."""
    parser = argparse.ArgumentParser(prog="make target ROW=R6 ARGS=…")
    parser.add_argument("--use-case", default="email_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--entities", type=int, default=60, help="of which a third each is missing, damaged and behind")
    parser.add_argument("--map-mib", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    own = {"OFFERLOOP_STORE__MAP_SIZE_BYTES": str(chosen.map_mib * 2**20)}
    with served(chosen.use_case, chosen.replicas, own) as running:
        trial = Trial(running, running.desk.use_cases[chosen.use_case], chosen.seed)
        before = {process.pid for process in processes(running, REPLICA)}
        unflagged, mended = trial.states(chosen.entities)
        locked_s = trial.locked(stopped=False)
        stopped_s = trial.locked(stopped=True)
        filled, full_s = trial.full()
        after = {process.pid for process in processes(running, REPLICA)}
        schema = trial.use_case.schema
        findings = compare(Tables(running.desk.layout.tables), schema, trial.drained())
    figures = (
        Figure("answers that were neither 200 nor 503", float(len(trial.odd)), 0.0, ""),
        Figure("503 without Retry-After", float(len(trial.silent)), 0.0, ""),
        Figure("damaged states that an answer did not name", float(len(unflagged)), 0.0, ""),
        Figure("damaged states that the next answer was not right about", float(len(mended)), 0.0, ""),
        Figure("seconds until decisions again, the store no longer locked", locked_s, BACK_S, "s"),
        Figure("seconds until decisions again beside a writer that stays stopped", stopped_s, BACK_S + 5.0, "s"),
        Figure("refused while the store was locked, the rarer time", float(min(trial.refused_locked)), 1.0, "", at_most=False),
        Figure("the map was full", float(filled), 1.0, "", at_most=False),
        Figure("seconds until decisions again, a full map drained", full_s, BACK_S, "s"),
        Figure("replicas that were started anew", float(len(after ^ before)), 0.0, ""),
        Figure(
            "acknowledged and lost, kept twice or otherwise", float(len([*findings.lost, *findings.doubled, *findings.differing])), 0.0, ""
        ),
    )
    notes = [
        f"{trial.answers} answers, {trial.refused} of them refused with 503; {trial.history.acknowledged} acknowledged writes looked for",
        "missing: half of a state gone (of a short one its end, of a long one its head); damaged: a bit of it flipped; behind: an "
        "attribute older than a `max_age` of a day",
        "a state that is deleted whole cannot be told from an unknown entity: its features are then `missing`, as a new one's are",
        f"locked: another process keeps LMDB's write lock for {LOCKED_S:.0f} s; stopped: one that holds it gets SIGSTOP and is never woken",
        "refused by the use case's rule: `refuse`, by default. What answers with control instead is in tests/serving/test_degraded.py",
        *trial.odd[:5],
        *trial.silent[:3],
        *unflagged[:3],
        *mended[:3],
        *([str(findings)] if str(findings) else []),
    ]
    return Measurement("R6", figures, tuple(notes))


class Trial:
    """One client without patience, and what it was answered."""

    def __init__(self, running: Served, use_case: UseCase, seed: int) -> None:
        self.running = running
        self.use_case = use_case
        self.history = History()
        self.odd: list[str] = []
        self.silent: list[str] = []
        self.answers = self.refused = 0
        self.refused_locked: list[int] = []
        """How many requests were refused each time that another process held the lock."""
        self._chance = random.Random(seed)
        self._number = 0
        self._map_size = running.settings.store.map_size_bytes
        self._http = httpx.Client(
            base_url=f"{running.address}/v1/{use_case.name}",
            headers={"authorization": f"Bearer {running.key}"},
            timeout=30.0,
            trust_env=False,
        )

    def decide(self, entity_id: str) -> Answer | None:
        """One decision; None where it was refused as it should be."""
        self._number += 1
        answer = self._post("/decisions", {"entity_id": entity_id, "decision_id": f"d-{self._number}"})
        if answer is None:
            return None
        told = msgspec.json.decode(answer.content, type=Answer)
        self.history.answered(told)
        return told

    def send(self, events: list[dict[str, object]]) -> bool:
        """Events; whether they were taken in."""
        answer = self._post("/events", {"events": events})
        if answer is None:
            return False
        refused = {one["index"] for one in answer.json()["quarantined"]}
        self.history.events.update(str(one["event_id"]) for number, one in enumerate(events) if number not in refused)
        return True

    def states(self, count: int) -> tuple[list[str], list[str]]:
        """Damage states; which answers did not say so, and which entities were not right afterwards."""
        self._let_attributes_age()
        entities = [f"e{number}" for number in range(count)]
        ways = ("missing", "damaged", "behind")
        way_of = {name: ways[number % 3] for number, name in enumerate(entities)}
        now_us = self.running.desk.clock.now_us()
        for name, way in way_of.items():
            self.send([self._event(name, now_us - (2 * DAY_US if way == "behind" else 0))])
        seqs = {name: self._seq(name) for name in entities}
        with_journal(self.running, self._map_size, partial(_damage, use_case=self.use_case.name, way_of=way_of))
        unflagged, wrong = [], []
        for name, way in way_of.items():
            first, second = self.decide(name), self.decide(name)
            flag = "stale:" if way == "behind" else DAMAGED
            if first is None or not any(reason.startswith(flag) for reason in first.degraded):
                unflagged.append(f"{name}, {way}: {first}")
            well = second is not None and (way == "behind" or not second.degraded)
            if not well or self._seq(name) != seqs[name] + 2:
                wrong.append(f"{name}, {way}: {second}, seq {seqs[name]} then {self._seq(name)}")
        return unflagged, wrong

    def locked(self, *, stopped: bool) -> float:
        """Let another process hold the write lock, and ask on; seconds from when it is over until decisions are made again.

        Infinite when the lock was not held.
        """
        fresh = multiprocessing.get_context("spawn")
        began, ended = fresh.Event(), fresh.Event()
        path = self.running.desk.layout.journal
        holder = fresh.Process(target=_hold, args=(path, self._map_size, stopped, began, ended), daemon=True)
        holder.start()
        refused = self.refused
        try:
            seconds_until(lambda: began.is_set() or not holder.is_alive(), PATIENCE_S)
            took_s = self._beside(ended, stopped) if began.is_set() else float("inf")
        finally:
            holder.kill()
            holder.join(10.0)
        self.refused_locked.append(self.refused - refused)
        return took_s

    def _beside(self, ended: Event, stopped: bool) -> float:
        """Ask on beside who holds the lock, until it is over and decisions are made again."""
        since_s = time.monotonic()
        while not ended.is_set() and time.monotonic() < since_s + LOCKED_S and not stopped:
            self.decide("e1")
            time.sleep(0.1)
        if not stopped:
            if not ended.wait(PATIENCE_S):
                return float("inf")
            since_s = time.monotonic()
        return self._again(since_s)

    def full(self) -> tuple[bool, float]:
        """Fill the map until nothing is taken in, ask on, then drain it as the flows do."""
        filled = False
        until_s = time.monotonic() + FILLING_S
        while not filled and time.monotonic() < until_s:
            now_us = self.running.desk.clock.now_us()
            filled = not self.send([self._event(f"f{self._chance.randrange(50)}", now_us) for _ in range(PART)])
        # why: each replica looks four times a second whether there is room
        time.sleep(4 * LOOK_S)
        refused = [self.decide(f"e{number}") is None for number in range(20)]
        self.drained()
        return filled and all(refused), self._again(time.monotonic())

    def drained(self) -> History:
        """Move everything into tables; what was acknowledged until then."""
        journal = Journal(self.running.desk.layout.journal, self._map_size)
        try:
            drain(journal, Tables(self.running.desk.layout.tables), {self.use_case.name: self.use_case.schema})
        finally:
            journal.close()
        return self.history

    def _again(self, since_s: float) -> float:
        streak = 0
        while streak < 20 and time.monotonic() < since_s + PATIENCE_S:
            streak = streak + 1 if self.decide(f"e{streak}") is not None else 0
            # why: another replica may be slower to see it
            time.sleep(0.01 if streak else 0.2)
        return time.monotonic() - since_s if streak >= 20 else float("inf")

    def _post(self, path: str, content: dict[str, object]) -> httpx.Response | None:
        self.answers += 1
        try:
            answer = self._http.post(path, json=content)
        except httpx.HTTPError as error:
            self.odd.append(f"{path}: {error!r}")
            return None
        if answer.status_code == 200:
            return answer
        self.refused += 1
        if answer.status_code != 503:
            self.odd.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        elif "retry-after" not in answer.headers:
            self.silent.append(f"{path}: {answer.text[:200]}")
        return None

    def _event(self, entity_id: str, at_us: int) -> dict[str, object]:
        self._number += 1
        made = made_event(self.use_case.schema, f"v-{self._number}", entity_id, at_us, self._chance)
        fields: dict[str, FieldValue] = dict(made.fields)
        return {"event_id": made.event_id, "entity_id": entity_id, "type": made.type, "event_time": at_us, "fields": fields}

    def _seq(self, entity_id: str) -> int:
        found = self._http.get(f"/decisions/{self._last(entity_id)}") if self._last(entity_id) else None
        return int(found.json()["seq"]) if found is not None else 1

    def _last(self, entity_id: str) -> str:
        return next((name for name, one in reversed(self.history.decisions.items()) if one.entity_id == entity_id), "")

    def _let_attributes_age(self) -> None:
        """Release the use case as it is, but for attributes that are stale after a day."""
        desk, name = self.running.desk, self.use_case.name
        aged = [
            msgspec.structs.replace(one, max_age_us=DAY_US) if isinstance(one, Attribute) else one
            for one in self.use_case.feature_set.features
        ]
        if not any(isinstance(one, Attribute) for one in aged):
            return
        own = replace(self.use_case, feature_set=FeatureSet(self.use_case.feature_set.name, tuple(aged)), scenarios=())
        release_id = write_bundle(desk.layout.bundles, start_parts(own, {"revision": "aged"}), desk.layout.secrets)
        act = Act("bench", desk.clock.now_us(), "its attributes age")
        register(desk.ledger, name, release_id, read_bundle(desk.layout.bundles, release_id).digest, act)
        to_shadow(desk.ledger, name, release_id, act)
        plan = to_champion(desk.ledger, name, release_id, act)
        ports = self.running.replicas()
        seconds_until(lambda: all(self.running.status(port, name)["plan_version"] == plan.version for port in ports), PATIENCE_S)


def with_journal(running: Served, map_size: int, work: Callable[[Write], object]) -> None:
    """Write to the journal of a running installation, as no process of it would."""
    journal = Journal(running.desk.layout.journal, map_size)
    try:
        journal.write(work)
    finally:
        journal.close()


def _damage(write: Write, *, use_case: str, way_of: Mapping[str, str]) -> None:
    transaction, heads = write._transaction, write._tables["heads"]
    for entity_id, way in way_of.items():
        key = f"{use_case}\0{entity_id}".encode()
        if way == "missing" and transaction.get(key, db=write._tables["tails"]) is None:
            state = transaction.get(key, db=heads)
            transaction.put(key, state[: len(state) // 2], db=heads)
        elif way == "missing":
            transaction.delete(key, db=heads)
        elif way == "damaged":
            state = bytearray(transaction.get(key, db=heads))
            state[len(state) // 2] ^= 4
            transaction.put(key, bytes(state), db=heads)


def _hold(path: Path, map_size: int, stopped: bool, began: Event, ended: Event) -> None:
    def wait(write: Write) -> None:
        began.set()
        if stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(LOCKED_S)

    journal = Journal(path, map_size)
    journal.write(wait)
    ended.set()
    journal.close()
