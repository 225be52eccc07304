import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from contracts.clock import DAY_US, HOUR_US
from decisions.rewards import matured

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
