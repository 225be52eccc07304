from dataclasses import replace

import numpy as np

from tests.training.conftest import SHOP, Made
from training.train import start_parts, train_on


def test_a_card_says_what_a_release_is_for_what_it_reads_and_how_it_does(made: Made) -> None:
    learned = train_on(made(2_000, use_case=replace(SHOP, approvers=("ada",)))).parts
    card = learned.card
    assert card["purpose"] == {
        "title": "What to show a customer",
        "use_case": "shop",
        "entity": "entity",
        "reward_unit": "dollars",
        "approvers": ["ada"],
    }
    assert card["inputs"]["features"][0] == {
        "name": "kind",
        "meaning": "latest customer.kind",
        "type": "one of 2",
        "sources": ["customer.kind"],
        "when_missing": "unknown",
    }
    performance = card["performance"]
    assert performance["value"] == learned.metrics["values"][learned.gate["choice"]]["dr"]
    assert performance["forecast"] == learned.gate["forecast"]
    assert card["data"]["decisions"] == 2_000
    assert card["use"]["baseline"] == "none"
    assert card["limits"][0].startswith("It knows what happened until 2024-09-29T")


def test_a_card_names_what_is_hardly_known(made: Made) -> None:
    training_set = made(2_000, control=0.0, use_case=replace(SHOP, gate=replace(SHOP.gate, slices=("kind",))))
    only_red = np.where(np.arange(2_000) < 10, training_set.action, 0)
    few = replace(training_set, action=only_red, features=training_set.features * [0.0, 1.0, 1.0])
    limits = train_on(few).parts.card["limits"]
    assert any(limit.startswith("Little is known of candidates that were shown fewer than 30 times: blue (") for limit in limits)
    assert "Too few decisions to tell how it does in the slices kind=b (0 of 200)." in limits
    assert any(limit.startswith("There is no control group") for limit in limits)


def test_the_card_of_a_first_release_invents_nothing() -> None:
    card = start_parts(SHOP).card
    assert "performance" not in card
    assert "data" not in card
    assert card["limits"] == ["Nothing is learned: it draws by its start policy, and what it earns is not known."]
    assert card["use"]["policy"] == {"kind": "uniform"}
