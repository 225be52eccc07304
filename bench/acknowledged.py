"""What clients were told is durable, held against what an installation has: every acknowledged write is there once, as it was told."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from client.messages import Answer
from contracts.events import EventSchema
from contracts.tables import DECISIONS, EVENTS, OUTCOMES
from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables


@dataclass
class History:
    """What clients sent and were told.

    Attributes:
        decisions: the first answer to each id. `events`, `outcomes`: ids that were accepted, with the rewards of outcomes.
        contradictions: ids that were answered twice, and not alike, in words.
    """

    decisions: dict[str, Answer] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    outcomes: dict[str, int] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    def answered(self, answer: Answer) -> None:
        """Note an answer; of one id all must be alike."""
        first = self.decisions.setdefault(answer.decision_id, answer)
        if first != answer:
            self.contradictions.append(f"{answer.decision_id}: first {first}, then {answer}")

    @property
    def acknowledged(self) -> int:
        """How many writes were."""
        return len(self.decisions) + len(self.events) + len(self.outcomes)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with what an installation has, in words; all empty when nothing is.

    Attributes:
        lost: acknowledged, and not there. `doubled`: there more than once, acknowledged or not.
        differing: there, but not as it was told; or told in two ways.
    """

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    differing: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join([*self.lost[:3], *self.doubled[:3], *self.differing[:3]])


def check(layout: Layout, schema: EventSchema, history: History, map_size: int = 2**34) -> Findings:
    """Hold a history against an installation of one use case, which may be running; what it accepted is moved into its tables."""
    tables = Tables(layout.tables)
    journal = Journal(layout.journal, map_size)
    try:
        drain(journal, tables, {schema.use_case: schema})
    finally:
        journal.close()
    return compare(tables, schema, history)


def compare(tables: Tables, schema: EventSchema, history: History) -> Findings:
    """Hold a history against the tables, into which everything was moved."""
    columns = ("decision_id", "entity_id", "action", "propensity", "arm", "release_id", "decided_at", "expires_at")
    kept = {row[0]: row for row in tables.frame(schema, DECISIONS).select(columns).iter_rows()}
    told = {
        name: (name, one.entity_id, one.action, one.propensity, one.arm, one.release_id, one.decided_at, one.expires_at)
        for name, one in history.decisions.items()
    }
    rewards = dict(tables.frame(schema, OUTCOMES).select("outcome_id", "reward").iter_rows())
    ids = {
        "decision": tables.frame(schema, DECISIONS)["decision_id"].to_list(),
        "event": tables.frame(schema, EVENTS)["event_id"].to_list(),
        "outcome": tables.frame(schema, OUTCOMES)["outcome_id"].to_list(),
    }
    sent = {"decision": history.decisions, "event": history.events, "outcome": history.outcomes}
    return Findings(
        lost=tuple(f"{kind} {name} is lost" for kind, names in sent.items() for name in sorted(set(names) - set(ids[kind]))),
        doubled=tuple(f"{kind} {name} is there {count} times" for kind, names in ids.items() for name, count in _doubled(names)),
        differing=(
            *(f"{name}: told {said}, kept {kept[name]}" for name, said in told.items() if name in kept and kept[name] != said),
            *(f"{name}: sent {said}, kept {rewards[name]}" for name, said in history.outcomes.items() if rewards.get(name, said) != said),
            *history.contradictions,
        ),
    )


def _doubled(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in Counter(names).items() if count > 1]
