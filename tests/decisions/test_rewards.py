from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.clock import DAY_US, HOUR_US
from contracts.errors import DefinitionError
from contracts.events import EventSchema, EventType, FieldType
from contracts.records import DECISION_EVENT, Decision
from contracts.traffic import CHAMPION
from decisions.assignment import Assignment
from decisions.decide import DecisionRequest, ReleaseRuntime, decide
from decisions.explain import recompute
from decisions.record import SentOutcome, make_event, record_decision, record_event, record_outcome
from decisions.rewards import Outcomes, matured, rewards
from features.definitions import FeatureSet
from features.online import OnlineFeatures
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables

DECISIONS = pl.DataFrame(
    {
        "decision_id": ["bought", "nothing", "refunded", "open"],
        "arm": ["a", "b", "b", "a"],
        "decided_at": [0, HOUR_US, 2 * HOUR_US, 9 * HOUR_US],
    }
)

OUTCOMES = pl.DataFrame(
    [
        ("bought", 0, 0, 5),
        ("bought", DAY_US - 1, DAY_US + 7, 20),
        ("bought", DAY_US, DAY_US, 1_000),
        ("bought", 2 * DAY_US, DAY_US - 5, 300),
        ("refunded", 3 * HOUR_US, 3 * HOUR_US, 50),
        ("refunded", 4 * HOUR_US, 4 * HOUR_US, -50),
        ("refunded", 5 * HOUR_US, 5 * HOUR_US, -7),
        ("open", 9 * HOUR_US, 9 * HOUR_US, 9),
        ("unknown", 9 * HOUR_US, 9 * HOUR_US, 9),
    ],
    schema=["decision_id", "event_time", "ingested_time", "reward"],
    orient="row",
)


def test_a_reward_is_the_sum_of_what_happened_in_the_window_of_a_closed_decision() -> None:
    rewards = matured(DECISIONS, OUTCOMES, window_us=DAY_US, now_us=DAY_US + 2 * HOUR_US)

    assert rewards.rows() == [("bought", "a", 0, 325), ("nothing", "b", HOUR_US, 0), ("refunded", "b", 2 * HOUR_US, -7)]
    assert rewards.schema["reward"] == pl.Int64


def test_a_window_closes_at_its_end_not_before() -> None:
    assert matured(DECISIONS, OUTCOMES, window_us=DAY_US, now_us=DAY_US - 1).height == 0
    assert matured(DECISIONS, OUTCOMES, window_us=DAY_US, now_us=DAY_US)["decision_id"].to_list() == ["bought"]


Row: TypeAlias = tuple[str, str | None, str, int, int, int, str, str]


def outcomes(*rows: Row) -> pl.DataFrame:
    """(outcome_id, decision_id, entity_id, event_time, ingested_time, reward, kind, corrects)."""
    columns = ["outcome_id", "decision_id", "entity_id", "event_time", "ingested_time", "reward", "kind", "corrects"]
    texts = dict.fromkeys(("outcome_id", "decision_id", "entity_id", "kind", "corrects"), pl.String)
    return pl.DataFrame(rows, schema=columns, schema_overrides=texts, orient="row")


TWO = pl.DataFrame({"decision_id": ["d1", "d2"], "entity_id": ["e", "e"], "decided_at": [0, 4]})
"""Two decisions of one entity, whose windows of 10 overlap from 4 to 10."""


def of(rule: Outcomes, sent: pl.DataFrame, now_us: int = 100, decisions: pl.DataFrame = TWO) -> dict[str, int]:
    return dict(rewards(rule, decisions, sent, window_us=10, now_us=now_us).select("decision_id", "reward").iter_rows())


def test_a_refund_counts_beyond_the_window_and_nobody_waits_for_it() -> None:
    sent = outcomes(
        ("o1", "d1", "e", 3, 3, 50, "", ""),
        ("o2", "d1", "e", 29, 29, -50, "", ""),
        ("o3", "d1", "e", 30, 30, -1, "", ""),
        ("o4", "d1", "e", 29, 29, 7, "", ""),
    )
    rule = Outcomes(refund_window_us=30)

    assert of(rule, sent, now_us=14) == {"d1": 50, "d2": 0}
    assert of(rule, sent, now_us=29) == {"d1": 0, "d2": 0}
    assert of(rule, sent) == {"d1": 0, "d2": 0}
    assert of(Outcomes(), sent) == {"d1": 50, "d2": 0}


def test_what_comes_in_late_is_waited_for_or_counts_from_then_on() -> None:
    sent = outcomes(("o1", "d1", "e", 9, 9, 5, "", ""), ("o2", "d2", "e", 9, 17, 8, "", ""))

    assert of(Outcomes(), sent, now_us=14) == {"d1": 5, "d2": 0}
    assert of(Outcomes(late_us=5), sent, now_us=14) == {}
    assert of(Outcomes(late_us=5), sent, now_us=15) == {"d1": 5}
    assert of(Outcomes(late_us=5), sent, now_us=19) == {"d1": 5, "d2": 8}
    assert of(Outcomes(), sent, now_us=19) == {"d1": 5, "d2": 8}


def test_a_correction_takes_the_place_and_the_time_of_what_it_corrects() -> None:
    sent = outcomes(
        ("o1", "d1", "e", 3, 3, 50, "", ""),
        ("o2", "d1", "e", 20, 20, 30, "", "o1"),
        ("o3", "d1", "e", 40, 40, 31, "", "o2"),
        ("o4", "d1", "e", 4, 4, 1, "", ""),
        ("o5", "d1", "e", 50, 50, 90, "", "o6"),
        ("o7", "d1", "e", 5, 5, 900, "", "another"),
    )

    assert [of(Outcomes(), sent, now_us=now)["d1"] for now in (19, 20, 40, 50)] == [951, 931, 932, 932]


def test_of_two_corrections_the_last_that_came_in_counts_and_none_of_another_decision() -> None:
    sent = outcomes(
        ("o1", "d1", "e", 3, 3, 50, "", ""),
        ("b", "d1", "e", 20, 20, 30, "", "o1"),
        ("a", "d1", "e", 21, 21, 20, "", "o1"),
        ("o2", "d2", "e", 5, 5, 7, "", "o1"),
    )

    assert of(Outcomes(), sent) == {"d1": 20, "d2": 7}


def test_what_names_no_decision_is_corrected_too() -> None:
    sent = outcomes(("o1", None, "e", 6, 6, 50, "", ""), ("o2", None, "e", 20, 20, 30, "", "o1"))

    assert of(Outcomes(), sent) == {"d1": 0, "d2": 30}


def test_a_correction_of_a_correction_that_lost_counts_alone() -> None:
    sent = outcomes(
        ("o1", "d1", "e", 3, 3, 50, "", ""),
        ("o2", "d1", "e", 20, 20, 30, "", "o1"),
        ("o3", "d1", "e", 21, 21, 40, "", "o1"),
        ("o4", "d1", "e", 22, 22, 35, "", "o2"),
    )

    assert [of(Outcomes(), sent, now_us=now)["d1"] for now in (20, 21, 22)] == [30, 40, 35]


def test_corrections_in_a_circle_end() -> None:
    sent = outcomes(("a", "d1", "e", 3, 3, 50, "", "b"), ("b", "d1", "e", 4, 4, 7, "", "a"), ("c", "d1", "e", 4, 4, 1, "", ""))

    assert of(Outcomes(), sent)["d1"] == 1


@pytest.mark.parametrize(
    "credit, expected", [("last", {"d1": 100, "d2": 16}), ("first", {"d1": 107, "d2": 9}), ("split", {"d1": 104, "d2": 12})]
)
def test_what_names_no_decision_is_credited_by_the_rule(credit: Literal["last", "first", "split"], expected: dict[str, int]) -> None:
    sent = outcomes(
        ("o1", None, "e", 1, 1, 100, "", ""),
        ("o2", "", "e", 6, 6, 7, "", ""),
        ("o3", None, "e", 12, 12, 9, "", ""),
        ("o4", None, "e", 99, 99, 1_000, "", ""),
        ("o5", None, "stranger", 6, 6, 1_000, "", ""),
    )

    assert of(Outcomes(credit=credit), sent) == expected


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=6), st.integers(1, 5))
def test_a_split_loses_no_unit(amounts: list[int], count: int) -> None:
    decisions = pl.DataFrame(
        {"decision_id": [f"d{at}" for at in range(count)], "entity_id": ["e"] * count, "decided_at": list(range(count))}
    )
    sent = outcomes(*((f"o{at}", None, "e", 6, 6, amount, "", "") for at, amount in enumerate(amounts)))

    shared = of(Outcomes(credit="split"), sent, decisions=decisions)

    assert sum(shared.values()) == sum(amounts)
    assert max(shared.values()) - min(shared.values()) <= len(amounts)


sent_outcomes = st.lists(
    st.tuples(
        st.sampled_from(["d0", "d1", "d2", None]), st.sampled_from(["e", "f"]), st.integers(0, 30), st.integers(0, 30), st.integers(-9, 9),
        st.sampled_from(["", "shown"]), st.integers(0, 12) | st.none(),
    ),
    max_size=12,
)  # fmt: skip


@given(
    sent=sent_outcomes,
    credit=st.sampled_from(["last", "first", "split"]),
    activation=st.sampled_from(["", "shown"]),
    refund=st.sampled_from([0, 15]),
    late=st.sampled_from([0, 3]),
    now=st.integers(0, 40),
)
def test_rewards_are_what_the_words_say(
    sent: list[tuple[str | None, str, int, int, int, str, int | None]],
    credit: Literal["last", "first", "split"],
    activation: str,
    refund: int,
    late: int,
    now: int,
) -> None:
    decided = {"d0": ("e", 0), "d1": ("e", 6), "d2": ("f", 6)}
    of_decisions = {**dict.fromkeys(("d0", "d1"), "e"), "d2": "f"}
    rows = [
        (
            f"o{at}",
            name,
            of_decisions.get(name or "", entity),
            time,
            ingested,
            reward,
            kind,
            "" if back is None or back >= at else f"o{back}",
        )
        for at, (name, entity, time, ingested, reward, kind, back) in enumerate(sent)
    ]
    decisions = pl.DataFrame(
        [(name, *rest) for name, rest in decided.items()], schema=["decision_id", "entity_id", "decided_at"], orient="row"
    )
    rule = Outcomes(refund_window_us=refund, late_us=late, default_reward=-3, activation=activation, credit=credit)

    assert of(rule, outcomes(*rows), now_us=now, decisions=decisions) == in_words(rule, decided, rows, now)


def in_words(rule: Outcomes, decided: dict[str, tuple[str, int]], rows: list[Row], now: int) -> dict[str, int]:
    """The same by loops, one outcome after another; the window is 10."""
    known = {row[0]: row for row in rows if row[4] <= now}
    corrects = {row[0]: row[7] for row in known.values() if row[7] in known and known[row[7]][1] == row[1]}

    def first(name: str) -> str:
        return first(corrects[name]) if name in corrects else name

    corrections: dict[str, list[Row]] = {}
    for name in corrects:
        corrections.setdefault(first(name), []).append(known[name])
    lasts = {max(rows, key=lambda row: (row[4], row[0]))[0] for rows in corrections.values()}
    dropped = {*corrections, *corrects} - lasts

    def happened(row: Row) -> int:
        return min(known[first(row[0])][3:5])

    counted = [(row, happened(row)) for row in known.values() if row[0] not in dropped]
    shown = {row[1] for row, at in counted if row[6] == rule.activation and row[1] and 0 <= at - decided[row[1]][1] < 10}
    active = {name: own for name, own in decided.items() if not rule.activation or name in shown}
    sums: dict[str, int] = {}
    for row, at in counted:
        if rule.activation and row[6] == rule.activation:
            continue
        length = max(10, rule.refund_window_us) if row[5] < 0 else 10
        whose = [name for name, (entity, start) in active.items() if entity == row[2] and 0 <= at - start < length]
        if row[1]:
            whose = [name for name in whose if name == row[1]]
        elif rule.credit != "split":
            whose = whose[-1:] if rule.credit == "last" else whose[:1]
        for place, name in enumerate(whose):
            sums[name] = sums.get(name, 0) + row[5] // len(whose) + (place < row[5] % len(whose))
    return {name: sums.get(name, rule.default_reward) for name, (_, start) in active.items() if start + 10 + rule.late_us <= now}


def test_a_decision_that_was_not_displayed_counts_nowhere() -> None:
    sent = outcomes(
        ("o1", "d1", "e", 10, 10, 0, "shown", ""),
        ("o2", "d2", "e", 5, 5, 3, "shown", ""),
        ("o3", "d1", "e", 6, 6, 50, "", ""),
        ("o4", None, "e", 6, 6, 9, "", ""),
    )

    assert of(Outcomes(activation="shown", default_reward=-1), sent) == {"d2": 9}
    assert of(Outcomes(activation="shown", default_reward=-1), sent.head(2)) == {"d2": -1}


def test_the_default_is_for_decisions_that_nothing_is_credited_to() -> None:
    sent = outcomes(("o1", "d1", "e", 3, 3, 0, "", ""))

    assert of(Outcomes(default_reward=-5), sent) == {"d1": 0, "d2": -5}


def test_times_are_not_negative() -> None:
    with pytest.raises(DefinitionError, match="wait -1"):
        Outcomes(refund_window_us=-1)


def test_no_decision_gives_no_row_and_no_outcome_gives_zeros() -> None:
    assert matured(DECISIONS.clear(), OUTCOMES, window_us=DAY_US, now_us=9 * DAY_US).columns == [
        "decision_id",
        "arm",
        "decided_at",
        "reward",
    ]
    assert matured(DECISIONS, OUTCOMES.clear(), window_us=DAY_US, now_us=9 * DAY_US)["reward"].to_list() == [0, 0, 0, 0]


@given(st.permutations(range(OUTCOMES.height)))
def test_the_order_of_outcomes_does_not_matter(order: list[int]) -> None:
    in_order = matured(DECISIONS, OUTCOMES, window_us=DAY_US, now_us=9 * DAY_US)

    assert matured(DECISIONS, OUTCOMES[order], window_us=DAY_US, now_us=9 * DAY_US).equals(in_order)


money = st.integers(-(2**40), 2**40)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(-5, 30), money), max_size=30), st.integers(1, 20), st.integers(0, 40))
def test_it_is_the_sum_that_the_words_say(sent: list[tuple[str, int, int]], window: int, now: int) -> None:
    decided = {"a": 0, "b": 10}
    decisions = pl.DataFrame({"decision_id": list(decided), "decided_at": list(decided.values())})
    outcomes = pl.DataFrame(
        [(decision, time, time, reward) for decision, time, reward in sent],
        schema={"decision_id": pl.String, "event_time": pl.Int64, "ingested_time": pl.Int64, "reward": pl.Int64},
        orient="row",
    )

    expected = {
        name: sum(reward for decision, time, reward in sent if decision == name and start <= time < start + window and time <= now)
        for name, start in decided.items()
        if start + window <= now
    }

    assert dict(matured(decisions, outcomes, window_us=window, now_us=now).select("decision_id", "reward").iter_rows()) == expected


def test_a_shown_offer_cools_down_and_its_purchase_is_its_reward(
    journal: Journal, tmp_path: Path, runtime: ReleaseRuntime, features: FeatureSet
) -> None:
    profile = EventType("profile", {"level": FieldType.INT, "country": FieldType.STR})
    schema = EventSchema.build("game", (profile, EventType("purchase", {"amount_micros": FieldType.INT})))
    online = OnlineFeatures(schema, 7 * DAY_US)
    joined = make_event("e-1", "p-1", "profile", 0, {"level": 7, "country": "DE"}, ingested_time=0)
    journal.write(lambda write: record_event(write, "game", joined, online.apply))

    def ask(decision_id: str, draw: float, now_us: int) -> Decision:
        with journal.read() as read:
            state = read.get_state("game", "p-1")
        row = online.read(state, features, now_us, {})
        shown = online.times_of(state, DECISION_EVENT, "candidate_id", now_us)
        request = DecisionRequest(decision_id, "game", "p-1")
        made = decide(request, row, runtime, Assignment(CHAMPION, 0.9, runtime.release_id), draw=draw, now_us=now_us, shown=shown)
        return journal.write(lambda write: record_decision(write, made, online.apply))

    first = ask("d-1", 0.999, HOUR_US)
    second = ask("d-2", 0.0, 2 * HOUR_US)
    third = ask("d-3", 0.0, 26 * HOUR_US)
    bought = SentOutcome("o-1", "d-1", 990_000, event_time=3 * HOUR_US)
    journal.write(lambda write: record_outcome(write, "game", bought, online.apply, ingested_time=3 * HOUR_US))

    names = [[candidate.candidate_id for candidate in decision.candidates] for decision in (first, second, third)]
    assert first.action == "coins"
    assert names == [["none", "gems", "gems_dear", "coins"], ["none", "gems", "gems_dear"], ["none", "gems", "gems_dear", "coins"]]
    assert [(decision.seen_seq, decision.seq) for decision in (first, second, third)] == [(1, 2), (2, 3), (3, 4)]
    assert [recompute(decision, runtime).differences for decision in (first, second, third)] == [(), (), ()]

    tables = Tables(tmp_path / "tables")
    drain(journal, tables, {"game": schema})
    rewards = matured(tables.frame(schema, "decisions"), tables.frame(schema, "outcomes"), window_us=DAY_US, now_us=2 * DAY_US)
    assert rewards.select("decision_id", "action", "reward").rows() == [("d-1", "coins", 990_000), ("d-2", "none", 0)]
