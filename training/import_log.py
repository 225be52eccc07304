"""Import a logged experiment: its rows become decisions and outcomes of the journal, like served ones, and go the same way on."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from contracts.errors import DataRefused
from contracts.records import CandidateProbability, Decision, FieldValue, event_of_decision
from decisions.record import ApplyEvent, SentOutcome, record_decision, record_outcome, stored_decision
from storage.journal import Journal
from storage.transaction import Write
from training.columns import EXAMPLES
from training.log_file import CONTEXT, LogRules, read_log
from use_cases.definition import UseCase

ARM = "logged"
RELEASE = "imported"

_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        rows: in the file. `new`: of them, decisions that were not there before. `rewarded`: rows with a reward that is not 0.
        earned: sum of all rewards, in the KPI unit.
    """

    rows: int
    new: int
    rewarded: int
    earned: int


def import_log(
    journal: Journal,
    use_case: UseCase,
    path: Path,
    apply_event: ApplyEvent,
    *,
    now_us: int,
    negative: bool = False,
    simulated: bool = False,
) -> ImportReport:
    """Import a log, all of it or nothing; again, and it changes nothing. What the file must hold: see `training.log_file`.

    Everything is checked before the first row is written. Rows are written in chunks, each durable at once, so that decisions go on
    meanwhile; an import that was interrupted is completed by running it again.

    A log without time counts as decided just so long ago that its outcome windows have closed, and as knowing of its entities what is known
    now. Where the log does not say what could have been shown, it was every candidate, those that were not shown alike.

    Args:
        journal: of the installation.
        use_case: whose decisions they are.
        path: the file, Parquet if its name ends so, else CSV.
        apply_event: lets an entity's features see what is imported.
        now_us: now, by the installation's clock.
        negative: whether rewards may be negative.
        simulated: whether the installation is.

    Raises:
        DataRefused: the file or rows of it are wrong, or ids were imported before with other content; nothing of it is taken.
    """
    log = read_log(path, LogRules(use_case, now_us, negative)).sort("decided_at", "decision_id")

    def chunks() -> Iterator[list[_Row]]:
        for part in log.iter_slices(_CHUNK):
            yield [_Row.of(row, use_case, now_us, simulated) for row in part.iter_rows(named=True)]

    _check_conflicts(journal, use_case, path, chunks())
    new = 0
    for chunk in chunks():
        new += journal.write(lambda write, chunk=chunk: sum(row.record(write, apply_event) for row in chunk))  # type: ignore[misc]
    return ImportReport(log.height, new, int((log["reward"] != 0).sum()), int(log["reward"].cast(pl.Int64).sum()))


@dataclass(frozen=True, slots=True)
class _Row:
    decision: Decision
    outcome: SentOutcome | None
    rewarded_at: int
    timeless: bool

    @classmethod
    def of(cls, row: Mapping[str, Any], use_case: UseCase, now_us: int, simulated: bool) -> "_Row":
        decided_at = row["decided_at"] if row["decided_at"] is not None else now_us - use_case.outcome_window_us
        context = {name.removeprefix(CONTEXT): value for name, value in row.items() if name.startswith(CONTEXT) and value is not None}
        decision = Decision(
            decision_id=row["decision_id"],
            use_case=use_case.name,
            entity_id=row["entity_id"],
            decided_at=decided_at,
            expires_at=decided_at + use_case.ttl_us,
            release_id=RELEASE,
            feature_set="",
            catalogue=use_case.catalogue.digest,
            arm=ARM,
            arm_probability=1.0,
            action=row["action"],
            propensity=row["propensity"],
            draw=0.0,
            candidates=_candidates(row, use_case),
            features=(),
            ages_us=(),
            missing=(),
            degraded=(),
            seen_seq=0,
            seq=0,
            context=context,
            request_digest=_digest(row, context),
            simulated=simulated,
            source="imported",
        )
        rewarded_at = row["rewarded_at"] if row["rewarded_at"] is not None else decided_at + use_case.outcome_window_us - 1
        timeless = row["decided_at"] is None
        sent_at = None if timeless else rewarded_at
        sent = SentOutcome(row["decision_id"], row["decision_id"], row["reward"], sent_at, ARM) if row["reward"] else None
        return cls(decision, sent, rewarded_at, timeless)

    def record(self, write: Write, apply_event: ApplyEvent) -> bool:
        decision = self.decision
        known = stored_decision(write, decision.use_case, decision.decision_id) is not None
        if self.timeless and not known:
            state = write.get_state(decision.use_case, decision.entity_id)
            decision = msgspec.structs.replace(decision, seen_seq=apply_event(state, event_of_decision(decision))[1] - 1)
        kept = record_decision(write, decision, apply_event)
        if self.outcome is not None:
            ingested = kept.decided_at + self.rewarded_at - self.decision.decided_at
            record_outcome(write, kept.use_case, self.outcome, apply_event, ingested_time=ingested, simulated=kept.simulated)
        return not known


def _candidates(row: Mapping[str, Any], use_case: UseCase) -> tuple[CandidateProbability, ...]:
    index = use_case.catalogue.index
    if row["candidate_ids"] is not None:
        listed = zip(row["candidate_ids"], row["p_in_arm"], strict=True)
        return tuple(CandidateProbability(name, share, 0.0) for name, share in sorted(listed, key=lambda pair: index[pair[0]]))
    rest = (1.0 - row["propensity"]) / max(len(index) - 1, 1)
    return tuple(CandidateProbability(name, row["propensity"] if name == row["action"] else rest, 0.0) for name in index)


def _digest(row: Mapping[str, Any], context: Mapping[str, FieldValue]) -> str:
    content = {**row, "context": context}
    return blake2b(msgspec.msgpack.encode(content, order="deterministic"), digest_size=16).hexdigest()


def _check_conflicts(journal: Journal, use_case: UseCase, path: Path, chunks: Iterable[list[_Row]]) -> None:
    with journal.read() as read:
        taken = [
            row.decision.decision_id
            for chunk in chunks
            for row in chunk
            if (found := stored_decision(read, use_case.name, row.decision.decision_id)) is not None
            and found.request_digest != row.decision.request_digest
        ]
    if taken:
        raise DataRefused(
            path.name, [f"{len(taken)} decision_id were accepted before with other content (first: {', '.join(taken[:EXAMPLES])})"]
        )
