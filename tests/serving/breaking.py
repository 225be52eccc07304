"""What of a changed OpenAPI document breaks clients that were written for the one before."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

Document = Mapping[str, Any]
Direction = Literal["sent", "answered"]

RISES = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
FALLS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def breaking(before: Document, after: Document) -> list[str]:
    """Every change that may break a client, in words.

    What is sent may not be narrowed, what is answered may not be widened or taken away; a new path, status, field that need not be sent, or
    field of an answer breaks nobody, since clients pass over what they do not know.
    """
    return list(_paths(before, after))


def _paths(before: Document, after: Document) -> Iterator[str]:
    for path, methods in before["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            now = after["paths"].get(path, {}).get(method)
            if now is None:
                yield f"{where} is gone"
                continue
            if operation["operationId"] != now["operationId"]:
                yield f"{where}: generated clients call it `{now['operationId']}` instead of `{operation['operationId']}`"
            if not operation["security"] and now["security"]:
                yield f"{where} needs a key"
            yield from _parameters(where, operation, now, before, after)
            yield from _sent(where, operation, now, before, after)
            yield from _answered(where, operation, now, before, after)


def _parameters(where: str, operation: Any, now: Any, before: Document, after: Document) -> Iterator[str]:
    known = {(one["in"], one["name"]): one for one in operation["parameters"]}
    for one in now["parameters"]:
        old = known.pop((one["in"], one["name"]), None)
        if old is None:
            if one.get("required"):
                yield f"{where}: {one['in']} `{one['name']}` must be sent"
            continue
        if one.get("required") and not old.get("required"):
            yield f"{where}: {one['in']} `{one['name']}` must be sent"
        yield from _schemas(f"{where}: {one['name']}", old["schema"], one["schema"], before, after, "sent")
    for place, name in known:
        if place == "path":
            yield f"{where}: path `{name}` is gone"


def _sent(where: str, operation: Any, now: Any, before: Document, after: Document) -> Iterator[str]:
    old, new = operation.get("requestBody"), now.get("requestBody")
    if new is None:
        return
    if old is None:
        if new.get("required"):
            yield f"{where}: a body must be sent"
        return
    for kind, content in old["content"].items():
        if kind not in new["content"]:
            yield f"{where}: does not take {kind} any more"
        else:
            yield from _schemas(f"{where} takes", content["schema"], new["content"][kind]["schema"], before, after, "sent")


def _answered(where: str, operation: Any, now: Any, before: Document, after: Document) -> Iterator[str]:
    for status, response in operation["responses"].items():
        new = now["responses"].get(status)
        if new is None:
            yield f"{where}: status {status} is gone"
            continue
        for kind, content in response.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"{where}: status {status} is not {kind} any more"
                continue
            yield from _schemas(f"{where} {status}", content["schema"], new["content"][kind]["schema"], before, after, "answered")
            for name in content.get("examples", {}):
                if name not in new["content"][kind].get("examples", {}):
                    yield f"{where}: status {status} has no problem `{name}` any more"
        for name in response.get("headers", {}):
            if name not in new.get("headers", {}):
                yield f"{where}: status {status} has no header {name} any more"


def _schemas(
    where: str, before: Any, after: Any, documents: Document, now: Document, direction: Direction, seen: frozenset[str] = frozenset()
) -> Iterator[str]:
    if before.get("$ref") and before.get("$ref") in seen:
        return
    seen = seen | {before.get("$ref", "")}
    before, after = _resolved(before, documents), _resolved(after, now)
    kinds, kinds_now = _kinds(before, documents), _kinds(after, now)
    # why: whole numbers are numbers, so one who takes numbers takes both
    if direction == "sent" and (lost := {kind for kind in kinds - kinds_now if not (kind == "integer" and "number" in kinds_now)}):
        yield f"{where}: does not take {', '.join(sorted(lost))} any more"
    if direction == "answered" and (new := {kind for kind in kinds_now - kinds if not (kind == "integer" and "number" in kinds)}):
        yield f"{where}: may be {', '.join(sorted(new))}"
    yield from _limits(where, before, after, direction)
    yield from _fields(where, before, after, documents, now, direction, seen)
    for part in ("items", "additionalProperties"):
        old, new_part = before.get(part), after.get(part)
        if isinstance(old, Mapping) and isinstance(new_part, Mapping):
            yield from _schemas(f"{where}[]", old, new_part, documents, now, direction, seen)
    if direction == "sent" and before.get("additionalProperties", True) is not False and after.get("additionalProperties", True) is False:
        yield f"{where}: unknown fields are refused"


def _limits(where: str, before: Any, after: Any, direction: Direction) -> Iterator[str]:
    if direction == "answered":
        if "enum" in before and not ("enum" in after and set(after["enum"]) <= set(before["enum"])):
            yield f"{where}: may be another than {before['enum']}"
        return
    for name in RISES:
        if after.get(name, float("-inf")) > before.get(name, float("-inf")):
            yield f"{where}: {name} is {after[name]}"
    for name in FALLS:
        if after.get(name, float("inf")) < before.get(name, float("inf")):
            yield f"{where}: {name} is {after[name]}"
    if "pattern" in after and after["pattern"] != before.get("pattern"):
        yield f"{where}: must be {after['pattern']}"
    if "enum" in after and not ("enum" in before and set(before["enum"]) <= set(after["enum"])):
        yield f"{where}: must be one of {after['enum']}"


def _fields(
    where: str, before: Any, after: Any, documents: Document, now: Document, direction: Direction, seen: frozenset[str]
) -> Iterator[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    needed, needed_now = set(before.get("required", ())), set(after.get("required", ()))
    for name, schema in old.items():
        if name not in new:
            if direction == "answered" or after.get("additionalProperties", True) is False:
                yield f"{where}: field `{name}` is gone"
        else:
            yield from _schemas(f"{where}.{name}", schema, new[name], documents, now, direction, seen)
    if direction == "sent":
        yield from (f"{where}: field `{name}` must be sent" for name in sorted(needed_now - needed))
    else:
        yield from (f"{where}: field `{name}` may be missing" for name in sorted(needed - needed_now) if name in new)


def _resolved(schema: Any, document: Document) -> Any:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _kinds(schema: Any, document: Document) -> set[str]:
    schema = _resolved(schema, document)
    if "anyOf" in schema:
        return {kind for one in schema["anyOf"] for kind in _kinds(one, document)}
    kind = schema.get("type", ("any",) if "enum" not in schema and "const" not in schema else ("string",))
    return {kind} if isinstance(kind, str) else set(kind)
