"""The clients' contract: what they may send with a question and read from an answer, and whether a release keeps what the one before said.

`{"context": {field: types}, "content": {key: {"types": types, "always": …}}}`, types being `number`, `text` and `integer`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from contracts.catalogue import NO_ACTION, Catalogue

_NAMES = {str: "text", int: "integer"}


def contract(features: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """What the messages of a release carry.

    Args:
        features: the feature set as `FeatureSet.to_json` writes it: its features of the request are what is read of a context.
        catalogue: what candidates say to the client. A key is `always` there when every candidate but no action has it.
    """
    context: dict[str, set[str]] = {}
    for feature in features["features"]:
        if feature.get("kind") == "request":
            context.setdefault(feature["field"], set()).add("text" if feature.get("categories") else "number")
    shown = [candidate.content for candidate in catalogue.candidates if candidate.candidate_id != NO_ACTION]
    found: dict[str, set[str]] = {}
    for candidate in catalogue.candidates:
        for key, value in candidate.content.items():
            found.setdefault(key, set()).add(_NAMES[type(value)])
    return {
        "context": {field: sorted(types) for field, types in sorted(context.items())},
        "content": {
            key: {"types": sorted(types), "always": all(key in content for content in shown)} for key, types in sorted(found.items())
        },
    }


def broken(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What clients that keep to one contract could no longer rely on under another, in words; nothing where they are compatible.

    New fields and keys are compatible, and a field of the context that is no longer read: sending it does no harm.

    Example:
        >>> old = {"context": {"cart": ["number"]}, "content": {"text": {"types": ["text"], "always": True}}}
        >>> list(broken(old, {"context": {"cart": ["text"]}, "content": {}}))
        ['context `cart` was number, is text', 'content `text` is gone']
    """
    for field, types in before.get("context", {}).items():
        now = after.get("context", {}).get(field, types)
        if not set(types) <= set(now):
            yield f"context `{field}` was {_or(types)}, is {_or(now)}"
    for key, said in before.get("content", {}).items():
        found = after.get("content", {}).get(key)
        if found is None:
            yield f"content `{key}` is gone"
        elif not set(found["types"]) <= set(said["types"]):
            yield f"content `{key}` was {_or(said['types'])}, is {_or(found['types'])}"
        elif said["always"] and not found["always"]:
            yield f"content `{key}` was there for every candidate, now only for some"


def _or(types: list[str]) -> str:
    return " or ".join(types)
