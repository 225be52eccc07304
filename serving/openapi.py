"""The OpenAPI 3.1 document, made from the routes and the message types; and the same as a page.

`python -m serving.openapi > docs/openapi.json` writes the copy that a test compares it with, so that no change goes unnoticed that clients
would feel.
"""

import sys
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from serving.examples import EXAMPLES, PATH, Example, problem_example
from serving.messages import ID_PATTERN, Problem
from serving.problems import KINDS, kinds_of
from serving.routes import ROUTES, Route

_REFERENCES = "#/components/schemas/{name}"


@cache
def document() -> Mapping[str, Any]:
    """The document, as JSON-like values. Complete: every status that a route answers with is in it."""
    types = [kind for route in ROUTES for kind in (route.takes, route.gives) if kind is not None] + [Problem]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCES)
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, schema_of)
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "Offerloop",
            "version": _version(),
            "description": _ABOUT,
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}, "password": {"type": "http", "scheme": "basic"}},
        },
    }
    for name, item in (("EventsRequest", "events"), ("OutcomesRequest", "outcomes")):
        # why: what is not as declared is taken too, into quarantine; only the envelope is refused
        records = components[name]["properties"][item]
        records["items"] = {
            "anyOf": [records["items"], {"description": "Anything else goes to quarantine, with the reason in the receipt."}]
        }
    plain: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(made).replace(_spelled(ID_PATTERN), _spelled(_ECMA_PATTERN)))
    return plain


@cache
def page() -> bytes:
    """The document as a page of its own, for people: no script, nothing from elsewhere."""
    described = document()
    sections = "".join(_section(route, described) for route in ROUTES)
    shapes = "".join(
        f"<section id='{escape(name)}'><h3>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>"
        f"<pre>{escape(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())}</pre></section>"
        for name, schema in described["components"]["schemas"].items()
    )
    problems = "".join(
        f"<tr id='{kind.name}'><td>{kind.status}</td><td><code>{kind.uri}</code></td>"
        f"<td>{escape(kind.title)}</td><td>{escape(kind.mend)}</td></tr>"
        for kind in KINDS
    )
    table = f"<table><tr><th>Status</th><th>Type</th><th></th><th>What to do</th></tr>{problems}</table>"
    about = "".join(f"<p>{escape(line)}</p>" for line in described["info"]["description"].split("\n\n"))
    return _page("Offerloop API", f"{about}{sections}<h2>Problems</h2>{table}<h2>Shapes</h2>{shapes}")


@cache
def index() -> bytes:
    """The first page: where to go."""
    links = "".join(f"<li><a href='{path}'>{path}</a> {escape(what)}</li>" for path, what in _LINKS)
    return _page("Offerloop", f"<ul>{links}</ul>")


def style_digest() -> str:
    """The digest by which the Content-Security-Policy lets the pages' one style through."""
    return b64encode(sha256(_STYLE.encode()).digest()).decode()


def _operation(route: Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    example = EXAMPLES.get(route.name, Example())
    given: dict[str, Any] = {"description": "Done."}
    if route.gives is not None:
        given["content"] = {route.gives_type: _content(schema_of[repr(route.gives)], example.gives)}
    elif route.gives_type != "application/json":
        given["content"] = {route.gives_type: {"schema": {"type": "string"}}}
    if route.scope:
        given["headers"] = _LIMITS
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": route.about,
        "parameters": [_parameter(part[1:-1]) for part in route.parts if part.startswith("{")],
        "responses": {str(status): given if status == route.status else _problem(route, status) for status in route.statuses} | _UNREADABLE,
        "security": [{"key": []}, {"password": []}] if route.scope else [],
    }
    if route.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": _content(schema_of[repr(route.takes)], example.takes)},
        }
    if route.signed:
        operation["parameters"] += [_header(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")]
    return operation


def _content(schema: Any, example: Any) -> dict[str, Any]:
    return {"schema": schema} if example is None else {"schema": schema, "example": msgspec.to_builtins(example)}


def _parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": _ECMA_PATTERN}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": PATH[name]}


def _header(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 256}}


def _problem(route: Route, status: int) -> dict[str, Any]:
    kinds = [kind for kind in route.kinds if kind.status == status]
    examples = {kind.name: {"summary": kind.mend, "value": msgspec.to_builtins(problem_example(kind))} for kind in kinds}
    response: dict[str, Any] = {
        "description": "; ".join(kind.title for kind in kinds) + ".",
        "content": {"application/problem+json": {"schema": {"$ref": _REFERENCES.format(name="Problem")}, "examples": examples}},
    }
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
    if status == 429:
        response["headers"] |= _LIMITS
    return response


def _section(route: Route, described: Mapping[str, Any]) -> str:
    operation = described["paths"][route.template][route.method.lower()]
    taken = _shape(operation.get("requestBody", {}))
    given = "".join(
        f"<tr><td>{status}</td><td>{escape(response['description'])}</td>"
        f"<td>{_shape(response) if status == str(route.status) else _links(route, int(status))}</td></tr>"
        for status, response in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><code>{route.method} {escape(route.template)}</code></h2><p>{escape(route.summary)}."
        f"{f' Takes {taken}.' if taken else ''}{f' Needs a key with scope <b>{route.scope}</b>.' if route.scope else ''}"
        f" {escape(route.about)}</p>{_example('Sent', operation.get('requestBody', {}))}"
        f"{_example('Answered', operation['responses'][str(route.status)])}"
        f"<table><tr><th>Status</th><th></th><th>Body</th></tr>{given}</table></section>"
    )


def _links(route: Route, status: int) -> str:
    return ", ".join(f"<a href='#{kind.name}'>{kind.name}</a>" for kind in kinds_of(status) if kind in route.kinds)


def _example(title: str, holder: Mapping[str, Any]) -> str:
    for content in holder.get("content", {}).values():
        if "example" in content:
            return f"<h3>{title}</h3><pre>{escape(msgspec.json.format(msgspec.json.encode(content['example']), indent=2).decode())}</pre>"
    return ""


def _shape(holder: Mapping[str, Any]) -> str:
    for content in holder.get("content", {}).values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        return f"<a href='#{escape(name)}'>{escape(name)}</a>" if name else "any"
    return ""


def _page(title: str, body: str) -> bytes:
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>{body}</body></html>"
    ).encode()


def _version() -> str:
    try:
        return version("offerloop")
    except PackageNotFoundError:
        return "0"


def _spelled(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]


_ABOUT = (
    "Decisions, and what came of them. Times are microseconds since 1970, UTC, of the installation's clock.\n\n"
    "Every request may be sent again: a decision is known by its `decision_id`, an event by its `event_id`, an outcome by its "
    "`outcome_id`. The same id with the same content changes nothing and gets the same answer; with other content it is a conflict "
    "(409, or the record is in the receipt's quarantine).\n\n"
    "What fails says so as application/problem+json (RFC 9457). `type` names the cause and never changes. 429 and 503 carry `Retry-After`; "
    "nothing was done then, unless the problem says otherwise. Answers may grow new fields: pass over those that you do not know.\n\n"
    "Where a key has a quota, answers say it by `RateLimit-Policy` and what is left of it by `RateLimit`."
)
_UNREADABLE: dict[str, dict[str, Any]] = {
    "400": {"description": "No HTTP/1.1 that can be read. The proxy says so, with a page of its own."}
}
_LIMITS: Mapping[str, Any] = {
    "RateLimit-Policy": {"description": "The quota of the key, where it has one.", "schema": {"type": "string"}},
    "RateLimit": {"description": "What is left of it (`r`), and when it is full again (`t`, seconds).", "schema": {"type": "string"}},
}
_ECMA_PATTERN = ID_PATTERN.replace(r"\Z", "$")
_LINKS = (
    ("/console/", "pages for people"),
    ("/docs", "what the API takes and gives"),
    ("/openapi.json", "the same for machines"),
    ("/v1/status", "what serves now"),
    ("/readyz", "whether decisions are answered"),
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2430}"
    "pre{background:#f4f5f7;padding:.7rem;overflow:auto;font-size:13px}table{border-collapse:collapse}"
    "td,th{border-bottom:1px solid #ddd;padding:.2rem .8rem;text-align:left}h2{margin-top:2.2rem;font-size:1.15rem}"
)

if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document()), indent=1) + b"\n")
