from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from contracts.clock import DAY_US, HOUR_US
from contracts.events import EventSchema, EventType, FieldType
from contracts.records import DECISION_EVENT, Decision
from contracts.traffic import CHAMPION
from decisions.assignment import Assignment
from decisions.decide import DecisionRequest, ReleaseRuntime, decide
from decisions.explain import recompute
from decisions.record import SentOutcome, make_event, record_decision, record_event, record_outcome
from decisions.rewards import matured
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
        [(decision, time, 99, reward) for decision, time, reward in sent],
        schema={"decision_id": pl.String, "event_time": pl.Int64, "ingested_time": pl.Int64, "reward": pl.Int64},
        orient="row",
    )

    expected = {
        name: sum(reward for decision, time, reward in sent if decision == name and start <= time < start + window)
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
