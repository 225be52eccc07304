"""The card of a release: what a person reads of it first, and the whole of it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from releases.bundle import Bundle


def note(bundle: Bundle) -> str:
    """The gate's verdict with what it asked, and the figures with their intervals, as Markdown.

    The gate's document says `accepted`, `step`, and `checks` or a `reason`. A figure with an interval is an object of `value`, `low` and
    `high`, wherever it stands in the metrics.
    """
    parts = bundle.parts
    gate = parts.gate if isinstance(parts.gate, dict) else {}
    lines = [f"Release `{bundle.release_id}` of **{parts.use_case}**, a scorer of kind `{parts.scorer_kind}`. {_verdict(gate)}"]
    checks = [f"| {check['name']} | {_mark(check)} | {check['reason']} |" for check in gate.get("checks", ())]
    if checks:
        lines += ["", "| check | | reason |", "|---|---|---|", *checks]
    figures = [f"| {name} | {value:.6g} | {low:.6g} | {high:.6g} |" for name, value, low, high in intervals(parts.metrics)]
    if figures:
        lines += ["", "| figure | value | low | high |", "|---|---|---|---|", *figures]
    return "\n".join(lines)


def page(bundle: Bundle) -> str:
    """The whole card as Markdown: the note, then purpose, slices, limits, inputs and use, as far as each is known."""
    card = bundle.parts.card
    return "\n\n".join([f"# {bundle.release_id}", note(bundle), *_sections(card)]) + "\n"


def intervals(document: Any, path: str = "") -> Iterator[tuple[str, float, float, float]]:
    """Every figure with an interval in a document: its path, value, low and high.

    Example:
        >>> list(intervals({"gain": {"value": 0.25, "low": 0.1, "high": 0.4, "n": 3}}))
        [('gain', 0.25, 0.1, 0.4)]
    """
    if isinstance(document, Mapping):
        value, low, high = (document.get(name) for name in ("value", "low", "high"))
        if isinstance(value, int | float) and isinstance(low, int | float) and isinstance(high, int | float):
            yield path, value, low, high
        for key, inner in document.items():
            yield from intervals(inner, _join(path, key))


def leaves(document: Any, path: str = "") -> Iterator[tuple[str, int | float | str]]:
    """Every single value of a document under its path, in signs that MLflow takes; truth values as words, lists as JSON.

    Example:
        >>> list(leaves({"gain": {"low": 0.1, "sure": True}, "arms": ["a", "b"], "note": None}))
        [('gain/low', 0.1), ('gain/sure', 'true'), ('arms', '["a", "b"]')]
    """
    if isinstance(document, Mapping):
        for key, inner in document.items():
            yield from leaves(inner, _join(path, key))
    elif isinstance(document, bool):
        yield path, str(document).lower()
    elif document is not None:
        yield path, document if isinstance(document, int | float | str) else json.dumps(document)


def _sections(card: Mapping[str, Any]) -> Iterator[str]:
    purpose = card.get("purpose", {})
    if purpose:
        yield "## What it is for\n\n" + _facts(purpose)
    if data := card.get("data"):
        yield "## What it was learned from\n\n" + _facts(data)
    if limits := card.get("limits"):
        yield "## What it does not know\n\n" + "\n".join(f"- {limit}" for limit in limits)
    if use := card.get("use"):
        yield "## How it is used\n\n" + _facts({**use, **card.get("outputs", {})})
    if features := card.get("inputs", {}).get("features"):
        names = list(dict.fromkeys(key for feature in features for key in feature))
        rows = [[_cell(feature.get(name, "")) for name in names] for feature in features]
        lines = [f"| {' | '.join(row)} |" for row in ([_words(name) for name in names], ["---"] * len(names), *rows)]
        yield "## What it reads\n\n" + "\n".join(lines)


def _facts(document: Mapping[str, Any]) -> str:
    return "\n".join(f"- {_words(name)}: {_cell(value)}" for name, value in document.items())


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value) if isinstance(value, Mapping) else str(value)
    return text.replace("|", "\\|")


def _verdict(gate: Mapping[str, Any]) -> str:
    if "accepted" not in gate:
        return "It has not been to a gate."
    how_far = f"The gate lets it become {gate.get('step', 'champion')}." if gate["accepted"] else "The gate refused it."
    return f"{how_far} {gate.get('reason', '')}".strip()


def _mark(check: Mapping[str, Any]) -> str:
    mark = "passed" if check["passed"] else "failed"
    return mark if check.get("needed", True) else f"({mark})"


def _join(path: str, key: object) -> str:
    name = re.sub(r"[^\w\-. :]", "_", str(key), flags=re.ASCII)[:100] or "_"
    return f"{path}/{name}" if path else name
