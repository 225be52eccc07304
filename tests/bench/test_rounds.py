"""What is compared is measured in turn, and the first round does not count."""

from bench.rounds import in_turn, ratio


def test_things_take_turns_and_the_first_round_is_thrown_away() -> None:
    order: list[str] = []

    def thing(name: str) -> int:
        order.append(name)
        return len(order)

    found = in_turn({name: lambda name=name: thing(name) for name in "ab"}, 3)  # type: ignore[misc]  # why: mypy cannot type the default
    assert "".join(order) == "ab" + "ba" + "ab" + "ba"
    assert found == {"a": [4, 5, 8], "b": [3, 6, 7]}


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    assert ratio([1.0, 9.0, 2.0], [1.0, 3.0, 1.0]) == (2.0, "1.00 to 3.00")
