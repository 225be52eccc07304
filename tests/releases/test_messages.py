from typing import Any

import pytest

from contracts.catalogue import Candidate, Catalogue
from releases.messages import broken, contract

CATALOGUE = Catalogue(
    (
        Candidate("none", {}),
        Candidate("a", {}, content={"text": "A", "price": 4}),
        Candidate("b", {}, content={"text": "B", "badge": 1}),
        Candidate("c", {}, content={"text": "C", "badge": "new"}),
    )
)
FEATURES = {
    "features": [
        {"kind": "request", "name": "cart", "field": "cart"},
        {"kind": "request", "name": "page", "field": "page", "categories": ["home"]},
        {"kind": "aggregate", "name": "visits", "source": "visit"},
    ]
}


def test_a_contract_says_what_is_read_and_what_is_told() -> None:
    assert contract(FEATURES, CATALOGUE) == {
        "context": {"cart": ["number"], "page": ["text"]},
        "content": {
            "badge": {"types": ["integer", "text"], "always": False},
            "price": {"types": ["integer"], "always": False},
            "text": {"types": ["text"], "always": True},
        },
    }


SAID: dict[str, Any] = {"context": {"cart": ["number"]}, "content": {"text": {"types": ["text"], "always": True}}}


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (SAID, []),
        ({"context": {}, "content": SAID["content"]}, []),
        ({"context": {"cart": ["number", "text"], "new": ["text"]}, "content": SAID["content"] | {"new": SAID["content"]["text"]}}, []),
        (SAID | {"context": {"cart": ["text"]}}, ["context `cart` was number, is text"]),
        (SAID | {"content": {}}, ["content `text` is gone"]),
        (SAID | {"content": {"text": {"types": ["integer"], "always": True}}}, ["content `text` was text, is integer"]),
        (SAID | {"content": {"text": {"types": ["integer", "text"], "always": True}}}, ["content `text` was text, is integer or text"]),
        (
            SAID | {"content": {"text": {"types": ["text"], "always": False}}},
            ["content `text` was there for every candidate, now only for some"],
        ),
    ],
)
def test_only_what_clients_rely_on_breaks_the_contract(after: dict[str, Any], said: list[str]) -> None:
    assert list(broken(SAID, after)) == said


def test_before_anything_was_promised_nothing_is_broken() -> None:
    assert list(broken({}, SAID)) == []
