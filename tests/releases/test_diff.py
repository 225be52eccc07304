"""Two releases compared, from their bundles alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.catalogue import Candidate, Catalogue, Limit, Rule
from contracts.clock import DAY_US, HOUR_US
from releases.bundle import Bundle, BundleParts
from releases.diff import Diff, diff


def bundle(parts: BundleParts, release_id: str = "r-2", digest: str = "b" * 64) -> Bundle:
    return Bundle(release_id, digest, Path("/nowhere"), parts)


def compared(before: BundleParts, **documents: Any) -> Diff:
    return diff(bundle(before, "r-1", "a" * 64), bundle(replace(before, **documents)))


def told(found: Diff) -> dict[str, list[tuple[str, str, str]]]:
    """The sections that differ."""
    return {section.name: [(one.what, one.before, one.after) for one in section.changes] for section in found.sections if section.changes}


def catalogue_of(parts: BundleParts, name: str, **changed: Any) -> Catalogue:
    return Catalogue(
        tuple(msgspec.structs.replace(one, **changed) if one.candidate_id == name else one for one in parts.catalogue.candidates)
    )


def test_a_release_is_as_itself(parts: BundleParts) -> None:
    found = diff(bundle(parts), bundle(parts))
    assert found.same and told(found) == {}
    assert found.words == "Nothing differs between r-2 and r-2."


def test_features_that_came_went_and_changed(parts: BundleParts) -> None:
    spend = {"kind": "aggregate", "name": "spend", "source": "purchase", "aggregate": "sum", "field": "amount", "window_us": 7 * DAY_US}
    before = replace(parts, features={"name": "v1", "features": [spend, {"kind": "attribute", "name": "country", "source": "profile"}]})
    wider = {**spend, "window_us": 28 * DAY_US, "description": "Spent."}
    price = {"kind": "derived", "name": "mean_price", "expression": {"op": "/"}}
    found = compared(before, features={"name": "v2", "features": [wider, price]})
    assert told(found)["features"] == [
        ("feature spend, window", "7 d", "28 d"),
        ("feature spend, description", "", "Spent."),
        ("feature country", "profile", ""),
        ("feature mean_price", "", "computed from other features"),
        ("name of the feature set", "v1", "v2"),
    ]
    kinds = [change.kind for section in found.sections for change in section.changes]
    assert kinds == ["changed", "added", "removed", "added", "changed"]


def test_another_order_of_features_is_another_model(parts: BundleParts) -> None:
    features = {"name": "shop", "features": list(reversed(parts.features["features"]))}
    assert told(compared(parts, features=features)) == {"features": [("order of the features", "level, country", "country, level")]}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"rules": (Rule("level", ">=", 9),)}, ("rules", "level >= 5, country in DE, FR", "level >= 9")),
        ({"content": {"text": "Gems"}}, ("content, text", "Ä ⛏", "Gems")),
        ({"attributes": {"style": "loud", "price": 599}}, ("attributes, price", "499", "599")),
        ({"cooldown_us": HOUR_US}, ("cooldown", "", "1 h")),
        ({"limits": (Limit(3, DAY_US, "*"),)}, ("limits", "", "3 of * in 1 d")),
        ({"valid_until_us": 1_767_225_600_000_000}, ("valid_until", "", "2026-01-01 00:00:00 UTC")),
    ],
)
def test_what_changed_of_a_candidate(parts: BundleParts, changed: dict[str, Any], expected: tuple[str, str, str]) -> None:
    what, before, after = expected
    found = compared(parts, catalogue=catalogue_of(parts, "gems", **changed))
    assert told(found) == {"catalogue": [(f"candidate gems: {what}", before, after)]}


def test_candidates_that_came_or_went_and_what_is_the_same_for_many(parts: BundleParts) -> None:
    kept = tuple(msgspec.structs.replace(one, cooldown_us=DAY_US) for one in parts.catalogue.candidates[:2])
    found = compared(parts, catalogue=Catalogue((*kept, Candidate("boost", {"style": "calm", "price": 99}))))
    assert told(found)["catalogue"] == [
        ("candidate gold", "attributes, style: calm, attributes, price: 2, cooldown: 1 h", ""),
        ("candidate boost", "", "attributes, style: calm, attributes, price: 99"),
        ("candidates none, gems: cooldown", "", "1 d"),
    ]


def test_documents_are_compared_leaf_by_leaf(parts: BundleParts) -> None:
    found = compared(
        parts,
        schema={"purchase": {"amount_micros": "int", "shop": "str"}, "login": {}},
        policy={"kind": "greedy"},
        settings={"rounds": 150, "learner": {"kind": "linear"}, "outcome_window_us": 4 * HOUR_US},
        code={"revision": "1" * 40},
        engine={"polars": "2.2"},
    )
    assert told(found) == {
        "events": [("event purchase, shop", "", "str"), ("event login", "", "no fields")],
        "policy": [("kind", "epsilon_greedy", "greedy"), ("epsilon", "0.1", "")],
        "learner": [("kind", "", "linear")],
        "settings": [("outcome_window", "", "4 h")],
        "code": [("revision", "0" * 40, "1" * 40)],
        "engine": [("polars", "2.1", "2.2")],
    }
    assert found.words.startswith(
        "They differ in events (2), policy (2), learner (1), settings (1), code (1), engine (1). The same: features,"
    )


def test_a_card_is_compared_where_it_says_more_than_the_rest(parts: BundleParts) -> None:
    shared = {"inputs": {"digest": "a"}, "performance": {"value": 1.0}, "data": {"decisions": 7}}
    before = {
        "purpose": {"owners": ["ann"]},
        "use": {"policy": {"epsilon": 0.1}, "control_share": 0.1},
        "limits": ["old", "both"],
        **shared,
    }
    after = {"purpose": {"owners": ["bob"]}, "use": {"policy": {"epsilon": 0.2}, "control_share": 0.2}, "limits": ["both", "new"]}
    assert told(compared(replace(parts, card=before), card=after)) == {
        "card": [("owners", "ann", "bob"), ("control_share", "0.1", "0.2"), ("limit", "old", ""), ("limit", "", "new")]
    }


def test_another_model_of_the_same_kind_differs(parts: BundleParts) -> None:
    found = compared(parts, scorer_files={"table.json": b'{"none": 0.0, "gems": 0.2, "gold": 0.3}'}, golden=parts.golden.head(1))
    ((file, before, after), (golden, *heights)) = told(found)["model"]
    assert file == "table.json" and before != after and all("39 bytes, SHA-256" in one for one in (before, after))
    assert golden == "golden decisions" and heights == ["2", "1, others or decided otherwise"]


def test_figures_have_their_intervals_and_checks_their_reasons(parts: BundleParts) -> None:
    checks = [{"name": "gain", "passed": False, "reason": "gain 0.05 [-0.1, 0.2]", "needed": True}]
    gate = {"accepted": False, "step": "refused", "checks": checks, "forecast": {"value": 0.3, "low": 0.25, "high": 0.35}}
    metrics = {"rows": 1_000, "values": {"learned": {"ips": {"value": 1.0, "low": 0.0, "high": 2.0}}}}
    found = told(compared(parts, gate=gate, metrics=metrics))
    assert found["figures"] == [("forecast", "", "0.3 [0.25, 0.35]"), ("rows", "", "1000")]
    assert found["gate"] == [
        ("accepted", "yes", "no"),
        ("step", "challenger", "refused"),
        ("check gain", "passed: gain 0.25 [0.10, 0.40] over control", "failed: gain 0.05 [-0.1, 0.2]"),
        ("check champion", "failed: not shown to beat what serves", ""),
    ]


def test_what_no_section_shows_is_not_called_the_same(parts: BundleParts) -> None:
    found = compared(parts)
    assert not found.same
    assert told(found) == {"other": [("whole digest", "a" * 64, "b" * 64)]}


def test_data_is_told_by_table_and_by_days_that_differ(parts: BundleParts) -> None:
    def read(*days: tuple[str, int, str]) -> dict[str, Any]:
        found = [{"table": "decisions", "day": day, "rows": rows, "digest": digest} for day, rows, digest in days]
        return {"as_of_us": 1_767_225_600_000_000, "partitions": found}

    before = replace(parts, data=read(("2026-01-01", 10, "a" * 64), ("2026-01-02", 20, "b" * 64)))
    after = read(("2026-01-02", 25, "c" * 64), ("2026-01-03", 1_000, "d" * 64))
    assert told(compared(before, data=after)) == {
        "data": [
            ("decisions of 2026-01-02", "20 rows, bbbbbbbbbbbb…", "25 rows, cccccccccccc…"),
            ("decisions read", "2 days from 2026-01-01 to 2026-01-02, 30 rows", "2 days from 2026-01-02 to 2026-01-03, 1,025 rows"),
        ]
    }
    assert told(compared(before, data={}))["data"][0] == ("as_of", "2026-01-01 00:00:00 UTC", "")


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "text",
        7,
        {"features": None},
        {"checks": None},
        {"a": [{"b": [1, {"c": None}]}]},
        {"partitions": [7, {"rows": None}]},
        {"limits": 7},
    ],
)
def test_documents_of_another_shape_are_compared_all_the_same(parts: BundleParts, odd: Any) -> None:
    odds = dict.fromkeys(("features", "schema", "policy", "settings", "metrics", "gate", "data", "code"), odd)
    assert compared(parts, **odds).words and compared(replace(parts, **odds), gate={}).words
