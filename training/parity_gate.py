"""The parity gate: will a release serve what was trained? Its scorer, the features it will read online, the messages clients know.

Each check says which rows or fields differ; one that differs stops the release before anybody sees it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from contracts.errors import BundleRefused, DataRefused
from contracts.tables import EVENTS
from decisions.decide import ReleaseRuntime
from decisions.golden import differences
from features import point_in_time
from features.coverage import Coverage, longest, read_coverage
from features.definitions import FeatureSet
from features.online import OnlineFeatures, retention
from features.rebuild import states_from_tables
from features.skew import compare
from features.state import head
from releases.bundle import Bundle, BundleParts
from releases.messages import broken
from storage.journal import Journal
from storage.tables import Tables, polars_schema
from training.gate import Check
from training.served_model import runtime_of_bundle
from use_cases.definition import UseCase

ENTITIES = 300
"""Entities whose features are compared, at most: half of them those that something happened to last, half spread over the others."""

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Parity:
    """What was proven of a release.

    Attributes:
        checks: `scores`, `features` and `messages`, each with its reason.
        differing: by the check's name the first rows or fields that differ, in words.
    """

    checks: tuple[Check, ...]
    differing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the release may go on."""
        return all(check.passed for check in self.checks)


def prove(
    bundle: Bundle,
    use_case: UseCase,
    champion: BundleParts | None,
    *,
    journal: Journal,
    tables: Tables,
    at_us: int,
    folder: Path,
    memory: str = "2GB",
) -> Parity:
    """Prove that a release will serve what was trained.

    Args:
        bundle: as read back from disk.
        use_case: whose.
        champion: whose messages clients know; None where there is none, or none that can be read.
        journal: with the online states.
        tables: drained.
        at_us: the moment as of which features are compared.
        folder: for files in between.
        memory: of the feature engine.
    """
    found: list[tuple[Check, tuple[str, ...]]] = []
    try:
        feature_set, runtime = runtime_of_bundle(bundle)
    except BundleRefused as error:
        return Parity((Check("scores", False, error.reason),))
    found.append(_scores(bundle, runtime))
    found.append(_features(feature_set, runtime, use_case, journal, tables, at_us, folder, memory))
    found.append(_messages(bundle, champion))
    return Parity(tuple(check for check, _ in found), {check.name: said for check, said in found if said})


def _scores(bundle: Bundle, runtime: ReleaseRuntime) -> tuple[Check, tuple[str, ...]]:
    golden = bundle.parts.golden
    differing = tuple(differences(golden, runtime))
    reason = f"the scorer that serves gives {golden.height - len(differing)} of {golden.height} golden decisions the scores of training"
    return Check("scores", not differing, reason), differing[:EXAMPLES]


def _messages(bundle: Bundle, champion: BundleParts | None) -> tuple[Check, tuple[str, ...]]:
    if champion is None:
        return Check("messages", True, "there is no champion whose messages clients could know"), ()
    differing = tuple(broken(champion.messages, bundle.parts.messages))
    said = "; ".join(differing) or "clients may send and read what they may with the champion"
    return Check("messages", not differing, said), differing


def _features(
    feature_set: FeatureSet,
    runtime: ReleaseRuntime,
    use_case: UseCase,
    journal: Journal,
    tables: Tables,
    at_us: int,
    folder: Path,
    memory: str,
) -> tuple[Check, tuple[str, ...]]:
    needed = retention([feature_set], [runtime.catalogue])
    seqs = _sample(tables, use_case)
    # why: a state commits with its event, before that reaches the tables; so states read now must have seen what the tables held
    with journal.read() as read:
        coverage = read_coverage(read, use_case.name)
        found = _states(dict(zip(seqs, read.get_states(use_case.name, list(seqs)), strict=True)), seqs)
    made = _made_anew(found, coverage, needed, use_case, tables, at_us)
    online = OnlineFeatures(use_case.schema, coverage.kept)
    wrong, rows = list(found.wrong), []
    for name, state in {**found.own, **dict.fromkeys(found.absent), **made}.items():
        try:
            row = online.read(state, feature_set, at_us, {})
        except DataRefused as error:
            wrong.append(f"{name}: {error}")
        else:
            values = dict(zip(feature_set.names, row.values.tolist(), strict=True))
            seq = seqs[name] if state is None else head(state)[2]
            rows.append({"row_id": name, "seq": seq, "missing": sorted(row.missing), **values})
    differing = _compared(rows, feature_set, use_case, tables, at_us, folder, memory) if rows else []
    lost = {name: seqs[name] for name in found.absent if name not in made}
    said = (*wrong, *_said(differing, lost))
    told = f"features of {len(rows)} entities, online and from the tables as of one moment: {len(said)} differences"
    if made:
        told += (
            f"; of {len(made)} by states made from the tables, as they will be before it serves: theirs do not reach back far enough yet"
        )
    if found.newer:
        told += f"; {len(found.newer)} whose states are newer than the tables were not counted"
    return Check("features", not said, told), said[:EXAMPLES]


def _compared(
    rows: Sequence[Mapping[str, object]], feature_set: FeatureSet, use_case: UseCase, tables: Tables, at_us: int, folder: Path, memory: str
) -> list[tuple[str, str]]:
    """What differs, as pairs of an entity and a text."""
    served = pl.DataFrame(rows, infer_schema_length=None)
    folder.mkdir(parents=True, exist_ok=True)
    spine, out = folder / "parity-spine.parquet", folder / "parity-features.parquet"
    try:
        served.select("row_id", entity_id="row_id", moment=pl.lit(at_us, pl.Int64), seen_seq="seq").write_parquet(spine)
        point_in_time.compute(tables.files(use_case.name, EVENTS), spine, feature_set, use_case.schema, out, memory)
        computed = pl.read_parquet(out)
    finally:
        spine.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
    report = compare(served, computed, feature_set, examples=len(rows) * len(feature_set.names))
    found = [(one.row_id, f"{one.feature} is {one.logged!r} online, {one.recomputed!r} from the tables") for one in report.examples]
    lists = served.select("row_id", "missing").join(computed.select("row_id", other="missing"), on="row_id").sort("row_id")
    for name, own, other in lists.iter_rows():
        if own != sorted(other):
            found.append((name, f"missing are {', '.join(own) or 'none'} online, {', '.join(sorted(other)) or 'none'} from the tables"))
    return found


def _said(differing: Sequence[tuple[str, str]], lost: Mapping[str, int]) -> Iterator[str]:
    """What differs, in words; of entities that have lost their states, all in one."""
    for name, seq in lost.items():
        own = [text for one, text in differing if one == name]
        if own:
            yield f"{name}: has no state online, and the tables hold its events up to number {seq}: {'; '.join(own)}"
    yield from (f"{name}: {text}" for name, text in differing if name not in lost)


def _sample(tables: Tables, use_case: UseCase) -> dict[str, int]:
    """Entities with the newest `seq` of theirs that the tables hold."""
    files = tables.files(use_case.name, EVENTS)
    if not files:
        return {}
    events = pl.scan_parquet(files, schema=polars_schema(EVENTS, use_case.schema), missing_columns="insert")
    newest = events.group_by("entity_id").agg(pl.col("seq").max(), pl.col("ingested_time").max()).collect()
    ordered = newest.sort("ingested_time", "entity_id", descending=[True, False])
    late, others = ordered.head(ENTITIES // 2), ordered.slice(ENTITIES // 2).sort("entity_id")
    spread = others.gather_every(max(1, -(-others.height // (ENTITIES - ENTITIES // 2))))
    return dict(pl.concat([late, spread]).select("entity_id", "seq").iter_rows())


@dataclass(frozen=True, slots=True)
class _States:
    """The states of entities beside what the tables hold of them.

    Attributes:
        own: those that saw exactly that.
        absent: entities without one. That is no difference by itself: their features may be what they are for an unknown entity.
        newer: entities of which more has happened since.
        wrong: states that have not seen all of it, or are damaged, in words.
    """

    own: Mapping[str, bytes]
    absent: Sequence[str]
    newer: Sequence[str]
    wrong: Sequence[str]


def _states(states: Mapping[str, bytes | None], seqs: Mapping[str, int]) -> _States:
    own: dict[str, bytes] = {}
    absent, newer, wrong = [], [], []
    for name, state in states.items():
        if state is None:
            absent.append(name)
            continue
        try:
            seq = head(state)[2]
        except DataRefused as error:
            wrong.append(f"{name}: {error}")
            continue
        if seq == seqs[name]:
            own[name] = state
        elif seq > seqs[name]:
            newer.append(name)
        else:
            wrong.append(f"{name}: its state online has seen events up to number {seq}, the tables hold them up to number {seqs[name]}")
    return _States(own, absent, newer, wrong)


def _made_anew(
    found: _States, coverage: Coverage, needed: Mapping[str, int], use_case: UseCase, tables: Tables, at_us: int
) -> dict[str, bytes | None]:
    """Of entities whose states do not hold all that is needed, the states that catching up will make of the tables."""
    held = {name: coverage.covered.get(name, 0) for name, length in needed.items() if length > coverage.covered.get(name, 0)}
    if not held or not (found.own or found.absent):
        return {}
    events = pl.scan_parquet(tables.files(use_case.name, EVENTS), schema=polars_schema(EVENTS, use_case.schema), missing_columns="insert")
    since = pl.col("type").replace_strict({name: at_us - length for name, length in held.items()}, default=None, return_dtype=pl.Int64)
    early = events.filter(pl.col("entity_id").is_in(list(found.own)) & (pl.col("event_time") <= since))
    short: list[str] = early.select(pl.col("entity_id").unique().sort()).collect()["entity_id"].to_list()
    online = OnlineFeatures(use_case.schema, longest(coverage.kept, needed))
    return states_from_tables(tables, use_case.schema, online, [*short, *found.absent])
