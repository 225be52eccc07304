from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.bundle import Bundle, BundleParts
from releases.card import leaves, note


def test_a_note_says_verdict_reasons_and_intervals(parts: BundleParts) -> None:
    text = note(Bundle("r-1", "d", Path("r-1"), parts))
    assert text.splitlines() == [
        "Release `r-1` of **shop**, a scorer of kind `table`. The gate let it pass.",
        "",
        "- gain 0.25 [0.10, 0.40] over control",
        "",
        "| figure | value | low | high |",
        "|---|---|---|---|",
        "| gain | 0.25 | 0.1 | 0.4 |",
    ]


@pytest.mark.parametrize(
    ("gate", "verdict"),
    [({"passed": False, "reasons": []}, "The gate refused it."), ({}, "not been to a gate"), (None, "not been to a gate")],
)
def test_a_note_of_every_verdict(parts: BundleParts, gate: object, verdict: str) -> None:
    assert verdict in note(Bundle("r-1", "d", Path("r-1"), replace(parts, gate=gate, metrics={})))


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner))
)
def test_paths_are_of_signs_that_mlflow_takes(document: object) -> None:
    for path, value in leaves({"it": document}):
        assert path.isascii() and path.isprintable()
        assert isinstance(value, int | float | str)
