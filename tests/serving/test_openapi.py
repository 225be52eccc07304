"""The document holds, and hostile requests that are generated from it find no fault of ours."""

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from serving.app import App
from serving.messages import Problem
from serving.openapi import document
from serving.routes import ROUTES

HOSTILE = [route for route in ROUTES if "{" in route.template]
CASES = 25
"""A route and a mode; `test_api_page.py` and row R10 look further."""


def test_every_route_is_in_the_document_with_all_its_statuses() -> None:
    paths = document()["paths"]
    for route in ROUTES:
        operation = paths[route.template][route.method.lower()]
        assert set(operation["responses"]) == {"400", *(str(status) for status in route.statuses)}


def test_its_schemas_are_schemas() -> None:
    for schema in document()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert Problem.__name__ in document()["components"]["schemas"]


def resolved(schema: Any) -> Any:
    return {"$ref": schema["$ref"], "components": document()["components"]} if "$ref" in schema else schema


@pytest.mark.parametrize("mode", list(GenerationMode), ids=[mode.value for mode in GenerationMode])
@pytest.mark.parametrize("name", [route.name for route in HOSTILE])
def test_hostile_requests_of_its_own_making_find_no_fault(app: App, key: str, name: str, mode: GenerationMode) -> None:
    statuses: Counter[int] = Counter()
    route = next(route for route in HOSTILE if route.name == name)
    responses = document()["paths"][route.template][route.method.lower()]["responses"]
    described = schemathesis.openapi.from_dict(dict(document()))

    @seed(11)
    @settings(max_examples=CASES, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
    @given(case=described[route.template][route.method].as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if statuses.total() % 4:
            case.path_parameters |= {"use_case": "shop"} if "use_case" in case.path_parameters else {}
        response = send_case(app, key, case)
        statuses[response.status_code] += 1
        assert response.status_code < 500, response.text
        check(responses, response)

    send()
    assert statuses.total() >= CASES / 2
    assert mode is GenerationMode.NEGATIVE or name in ("decision", "hooks") or statuses[200] >= CASES / 4


def raw(app: App, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
    """The application's response to a request that no client has made tidy."""
    messages: list[Any] = []
    lines = [(name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(app({"type": "http", "method": method, "path": path, "headers": lines}, receive, send))
    return httpx.Response(messages[0]["status"], headers=messages[0]["headers"], content=messages[1]["body"])


def send_case(app: App, key: str, case: Any) -> httpx.Response:
    """The response to a case of schemathesis, with our key."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url="http://shop")).prepare()
    headers = {name: str(value) for name, value in prepared.headers.items()} | {"authorization": f"Bearer {key}"}
    headers.pop("Content-Length", None)
    body = prepared.body or b""
    path = unquote(urlsplit(prepared.url or "").path)
    return raw(app, prepared.method or "GET", path, headers, body if isinstance(body, bytes) else str(body).encode())


def check(responses: dict[str, Any], response: httpx.Response) -> None:
    """What is answered is in the document, body included."""
    kind = response.headers["content-type"].partition(";")[0]
    described = responses.get(str(response.status_code))
    if described is None:
        assert response.status_code == 404, response.text
        return
    content = described.get("content", {})
    assert kind in content
    if kind.endswith("json"):
        jsonschema.validate(response.json(), resolved(content[kind]["schema"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
POSTS = [route for route in ROUTES if route.method == "POST"]


@seed(11)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(number=st.integers(0, len(POSTS) - 1), body=JSON | st.binary(max_size=200), name=st.text(min_size=1, max_size=30))
def test_random_bodies_and_names_find_no_fault(app: App, key: str, number: int, body: Any, name: str) -> None:
    path = "/".join(name if part.startswith("{") else part for part in POSTS[number].parts)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = raw(app, "POST", f"/{path}", {"authorization": f"Bearer {key}"}, content)
    assert 400 <= response.status_code < 500


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"entity_id":"' + b"x" * 150_000 + b'"}',
        b'{"entity_id":"p-1","context":{"x":1e400}}',
        b'{"entity_id":"p-1","context":{"x":' + b"9" * 100_000 + b"}}",
        b'{"entity_id":"\xed\xa0\x80"}',
        b"\x00" * 1_000,
    ],
    ids=["deep list", "deep object", "long id", "infinite", "huge number", "surrogate", "zeros"],
)
def test_known_tricks_find_no_fault(app: App, key: str, body: bytes) -> None:
    for path in ("decisions", "decisions:batch", "events", "outcomes"):
        for wrapped in (body, b'{"events":[' + body + b"]}", b'{"outcomes":[' + body + b"]}", b'{"requests":[' + body + b"]}"):
            response = raw(app, "POST", f"/v1/shop/{path}", {"authorization": f"Bearer {key}"}, wrapped)
            assert response.status_code in (200, 413, 422), response.text
