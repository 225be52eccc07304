"""Everything that an installation writes, in one small story that may be told again from the start: the same ids, the same content."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec

from bench.acknowledged import History, compare
from client.messages import Answer
from contracts.events import FieldType
from contracts.records import DECISION_EVENT, OUTCOME_EVENT
from contracts.settings import Settings
from contracts.tables import DECISIONS, EVENTS, OUTCOMES
from decisions.record import EVENT
from releases.bundle import read_bundle, write_bundle
from releases.inbox import Inbox
from releases.ledger import Act, Ledger
from releases.stages import register, start, to_champion, to_shadow
from serving.keys import Scope, list_keys, make_key
from serving.messages import EventMessage, OutcomeMessage
from serving.service import DecisionService
from storage.drain import drain
from storage.layout import Layout
from storage.tables import Tables
from training.train import start_parts
from use_cases.definition import UseCase

Say = Callable[[str, Any], None]
"""Acknowledge: what it is, and what it says."""

ENTITIES = 5


def tell(settings: Settings, use_case: UseCase, say: Say) -> None:
    """Make an installation, decide, take events and outcomes in, move them into tables, release another model, make a key, trigger a flow.

    What was done before is done no second time; each thing is acknowledged once it is durable, as a client would be told.
    """
    layout = Layout(settings.folder)
    layout.root.mkdir(parents=True, exist_ok=True)
    name = use_case.name
    with DecisionService(settings, {name: use_case}) as service:
        _release(service, use_case, "first")
        service.look()
        say("plan", service.ledger.plan(name).version)  # type: ignore[union-attr]
        _go_on(service, use_case, say, 0)
        drain(service.journal, service.tables, {name: use_case.schema})
        say("tables", service.tables.manifest().position)
        if "writer" not in [key.name for key in list_keys(layout)]:
            say("key", make_key(layout, "writer", (Scope.DECIDE,)))
        _release(service, use_case, "second")
        service.look()
        say("plan", service.ledger.plan(name).version)  # type: ignore[union-attr]
        _go_on(service, use_case, say, 1)
        with closing(Inbox(layout.ledger)) as inbox:
            say("inbox", inbox.trigger("monitor", "test", "once", {}, service.clock.now_us()).id)
        drain(service.journal, service.tables, {name: use_case.schema})
        service.tables.merge({name: use_case.schema}, most=1)
        say("tables", service.tables.manifest().position)
    say("end", None)


def look(settings: Settings, use_case: UseCase, said: list[tuple[str, Any]]) -> list[str]:
    """What is wrong with an installation beside what was acknowledged; nothing, when all is well. It is read as any process would."""
    layout, name = Layout(settings.folder), use_case.name
    found: list[str] = []
    for path in layout.bundles.glob("r-*") if layout.bundles.exists() else ():
        read_bundle(layout.bundles, path.name, layout.secrets)
    keys = [content for kind, content in said if kind == "key"]
    found += ["a key is gone"] if keys and "writer" not in [key.name for key in list_keys(layout)] else []
    plans = [content for kind, content in said if kind == "plan"]
    positions = [content for kind, content in said if kind == "tables"]
    if Tables(layout.tables).manifest().position < max(positions, default=0):
        found.append("the tables went back")
    with closing(Ledger(layout.ledger)) as ledger, closing(Inbox(layout.ledger)) as inbox:
        plan = ledger.plan(name)
        if (0 if plan is None else plan.version) < max(plans, default=0):
            found.append("a traffic plan is gone")
        if any(kind == "inbox" for kind, _ in said) and not inbox.rows():
            found.append("a row of the inbox is gone")
        for release_id in () if plan is None else plan.releases:
            read_bundle(layout.bundles, release_id, layout.secrets)
    history = History()
    for kind, content in said:
        if kind == "decision":
            history.answered(msgspec.convert(content, Answer))
        elif kind == "event":
            history.events.add(content)
        elif kind == "outcome":
            history.outcomes[content[0]] = content[1]
    with DecisionService(settings, {name: use_case}) as service:
        drain(service.journal, service.tables, {name: use_case.schema})
        findings = compare(service.tables, use_case.schema, history)
        frames = {table: service.tables.frame(use_case.schema, table) for table in (DECISIONS, EVENTS, OUTCOMES)}
    seqs: dict[str, list[int]] = {}
    for entity, seq in frames[EVENTS].select("entity_id", "seq").iter_rows():
        seqs.setdefault(entity, []).append(seq)
    found += [
        f"events of {entity} have the numbers {sorted(own)}" for entity, own in seqs.items() if sorted(own) != [*range(1, len(own) + 1)]
    ]
    return [*found, *findings.lost, *findings.doubled, *findings.differing]


def _go_on(service: DecisionService, use_case: UseCase, say: Say, part: int) -> None:
    name = use_case.name
    own = [one for kind, one in use_case.schema.types.items() if kind not in (DECISION_EVENT, OUTCOME_EVENT)]
    values: dict[FieldType, Any] = {FieldType.INT: 7, FieldType.STR: "s", FieldType.BOOL: True}
    for number in range(ENTITIES * part, ENTITIES * (part + 1)):
        entity = f"e{number % ENTITIES}"
        fields = {field: values[kind] for field, kind in own[0].fields.items()}
        event = EventMessage(f"v-{number}", entity, own[0].name, service.clock.now_us(), fields)
        with service.journal.read() as read:
            known = read.get_id(EVENT, name, event.event_id) is not None
        if not known:
            service.accept_events(name, [event])
        say("event", event.event_id)
        decision = service.decide(name, entity, {}, f"d-{number}")
        say("decision", msgspec.to_builtins(service.answer(decision)))
        service.accept_outcomes(name, [OutcomeMessage(f"o-{number}", decision.decision_id, number + 1)])
        say("outcome", (f"o-{number}", number + 1))


def _release(service: DecisionService, use_case: UseCase, revision: str) -> None:
    layout, ledger, name = service.layout, service.ledger, use_case.name
    act = Act("bench", service.clock.now_us(), "as the story goes")
    plan = ledger.plan(name)
    parts = start_parts(use_case, {"revision": revision})
    release_id = write_bundle(layout.bundles, parts, layout.secrets)
    digest = read_bundle(layout.bundles, release_id).digest
    if plan is None:
        start(ledger, name, release_id, digest, use_case.control_share, act)
    elif revision != "first" and plan.champion.release_id != release_id:
        if release_id not in [row.release_id for row in ledger.releases(name)]:
            register(ledger, name, release_id, digest, act)
        if plan.shadow != release_id:
            to_shadow(ledger, name, release_id, act)
        to_champion(ledger, name, release_id, act)
