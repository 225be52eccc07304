"""The API keeps its word: what a client was written for still holds, and the examples are real."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest

from serving.app import App
from serving.examples import DETAILS, EXAMPLES, PATH, problem_example
from serving.openapi import document
from serving.problems import KINDS, PREFIX
from serving.routes import ROUTES

from .breaking import breaking
from .test_openapi import raw

Http = Callable[..., httpx.AsyncClient]
REFRESH = "python -m serving.openapi > docs/openapi.json"


@pytest.fixture(scope="module")
def published(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "docs/openapi.json").read_text())
    return found


def test_nothing_that_was_published_is_broken(published: dict[str, Any]) -> None:
    assert breaking(published, document()) == [], "clients rely on this; take another path, or a new version of it (/v2)"


def test_what_is_published_is_what_is_served(published: dict[str, Any]) -> None:
    without_version = [dict(one, info=dict(one["info"], version="")) for one in (published, dict(document()))]
    assert without_version[0] == without_version[1], f"nothing is broken, but something is new: {REFRESH}"


DECISION = "/v1/{use_case}/decisions"


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets what a path of names, apart by `|`, leads to; deletes it for None."""

    def apply(found: dict[str, Any]) -> None:
        *way, last = path.split("|")
        for name in way:
            found = found[name]
        if value is None:
            del found[last]
        else:
            found[last] = value

    return apply


ASK = "components|schemas|DecisionRequest"
TOLD = "components|schemas|DecisionAnswer"
POST = f"paths|{DECISION}|post"


@pytest.mark.parametrize(
    "path, value, said",
    [
        (f"paths|{DECISION}", None, "is gone"),
        (f"{POST}|operationId", "decide", "generated clients"),
        (f"{POST}|responses|409", None, "status 409 is gone"),
        (f"{POST}|responses|503|content|application/problem+json|examples|not-ready", None, "no problem `not-ready`"),
        (f"{POST}|responses|503|headers|Retry-After", None, "no header Retry-After"),
        ("paths|/healthz|get|security", [{"key": []}], "needs a key"),
        (f"{ASK}|required", ["entity_id", "context"], "field `context` must be sent"),
        (f"{ASK}|properties|context", None, "field `context` is gone"),
        (f"{ASK}|properties|entity_id|maxLength", 64, "maxLength is 64"),
        (f"{ASK}|properties|entity_id|pattern", "^[a-z]+$", "must be"),
        (f"{ASK}|properties|entity_id|type", "integer", "does not take string"),
        (f"{TOLD}|properties|arm", None, "field `arm` is gone"),
        (f"{TOLD}|properties|decided_at|type", "string", "may be string"),
        (f"{TOLD}|required", ["decision_id"], "field `arm` may be missing"),
        (f"{POST}|requestBody|content", {"application/x": {}}, "does not take application/json"),
    ],
)
def test_what_breaks_clients_is_found(path: str, value: Any, said: str) -> None:
    after = copy.deepcopy(dict(document()))
    change(path, value)(after)
    assert any(said in one for one in breaking(document(), after)), breaking(document(), after)


@pytest.mark.parametrize(
    "path, value",
    [
        ("paths|/v1/new", {"get": {}}),
        (f"{POST}|responses|418", {"description": "new"}),
        (f"{POST}|summary", "said better"),
        (f"{ASK}|properties|locale", {"type": "string"}),
        (f"{ASK}|properties|entity_id|maxLength", 256),
        (f"{ASK}|properties|entity_id|type", ["string", "integer"]),
        (f"{TOLD}|properties|reason", {"type": "string"}),
    ],
)
def test_what_is_added_breaks_nobody(path: str, value: Any) -> None:
    after = copy.deepcopy(dict(document()))
    change(path, value)(after)
    assert breaking(document(), after) == []


def test_every_example_is_of_its_schema() -> None:
    described = document()
    checked = 0
    for route in ROUTES:
        operation = described["paths"][route.template][route.method.lower()]
        for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in holder.get("content", {}).values():
                schema = content["schema"] | {"components": described["components"]}
                for example in (*filter(None, [content.get("example")]), *(one["value"] for one in content.get("examples", {}).values())):
                    jsonschema.validate(example, schema)
                    checked += 1
        assert not route.takes or "example" in operation["requestBody"]["content"]["application/json"], route.name
        for status, response in operation["responses"].items():
            given = response.get("content", {}).get("application/problem+json")
            assert status in ("400", str(route.status)) or given["examples"], f"{route.name} {status}"
    assert checked > 100


@pytest.mark.parametrize("name", ["decisions", "decisions_batch", "events", "outcomes"])
def test_the_examples_are_answered_as_they_say(app: App, key: str, name: str) -> None:
    route = next(route for route in ROUTES if route.name == name)
    bearer = {"authorization": f"Bearer {key}"}
    if name == "outcomes":
        first = msgspec.json.encode(EXAMPLES["decisions"].takes)
        assert raw(app, "POST", "/v1/shop/decisions", bearer, first).status_code == 200
    response = raw(app, "POST", route.template.format(**PATH), bearer, msgspec.json.encode(EXAMPLES[name].takes))
    assert response.status_code == 200, response.text
    told = msgspec.json.decode(response.content, type=route.gives)
    if name in ("events", "outcomes"):
        assert (told.accepted, told.duplicates) == (EXAMPLES[name].gives.accepted, EXAMPLES[name].gives.duplicates)
        assert [one.id for one in told.quarantined] == [one.id for one in EXAMPLES[name].gives.quarantined]


def test_every_kind_of_problem_has_a_name_of_its_own_and_says_what_to_do() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) == len(DETAILS)
    for kind in KINDS:
        assert (problem_example(kind).type, problem_example(kind).status) == (f"{PREFIX}{kind.name}", kind.status)
        assert kind.mend.endswith(".")
