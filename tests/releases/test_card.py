from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.bundle import Bundle, BundleParts
from releases.card import leaves, note, page


def test_a_note_says_verdict_reasons_and_intervals(parts: BundleParts) -> None:
    text = note(Bundle("r-1", "d", Path("r-1"), parts))
    assert text.splitlines() == [
        "Release `r-1` of **shop**, a scorer of kind `table`. The gate lets it become challenger.",
        "",
        "| check | | reason |",
        "|---|---|---|",
        "| gain | passed | gain 0.25 [0.10, 0.40] over control |",
        "| champion | (failed) | not shown to beat what serves |",
        "",
        "| figure | value | low | high |",
        "|---|---|---|---|",
        "| gain | 0.25 | 0.1 | 0.4 |",
    ]


@pytest.mark.parametrize(
    ("gate", "verdict"),
    [
        ({"accepted": False, "step": "refused", "checks": []}, "The gate refused it."),
        ({"accepted": True, "step": "champion", "reason": "the first release"}, "The gate lets it become champion. the first release"),
        ({}, "It has not been to a gate."),
        (None, "It has not been to a gate."),
    ],
)
def test_a_note_of_every_verdict(parts: BundleParts, gate: object, verdict: str) -> None:
    assert note(Bundle("r-1", "d", Path("r-1"), replace(parts, gate=gate, metrics={}))).endswith(f"kind `table`. {verdict}")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner))
)
def test_paths_are_of_signs_that_mlflow_takes(document: object) -> None:
    for path, value in leaves({"it": document}):
        assert path.isascii() and path.isprintable()
        assert isinstance(value, int | float | str)


def test_a_page_says_all_of_the_card_that_is_known(parts: BundleParts) -> None:
    card = {
        "purpose": {"title": "Offers", "owners": ["ada", "bob"]},
        "inputs": {"features": [{"name": "level", "meaning": "a|b"}, {"name": "cart", "unit": "dollars"}]},
        "use": {"policy": {"kind": "greedy"}},
        "outputs": {"score": "what it earns"},
        "limits": ["It knows little."],
    }
    text = page(Bundle("r-1", "d", Path("r-1"), replace(parts, card=card)))
    assert text.startswith("# r-1\n\nRelease `r-1` of **shop**")
    assert text.split("## What it is for")[1].splitlines() == [
        "",
        "",
        "- title: Offers",
        "- owners: ada, bob",
        "",
        "## What it does not know",
        "",
        "- It knows little.",
        "",
        "## How it is used",
        "",
        '- policy: {"kind": "greedy"}',
        "- score: what it earns",
        "",
        "## What it reads",
        "",
        "| name | meaning | unit |",
        "| --- | --- | --- |",
        "| level | a\\|b |  |",
        "| cart |  | dollars |",
    ]
    assert page(Bundle("r-1", "d", Path("r-1"), parts)).count("##") == 0
