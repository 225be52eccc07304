import pytest

from contracts.metrics import ROUTES as COUNTED
from serving.routes import ROUTES, Found, find


@pytest.mark.parametrize(
    "method, path, name, values",
    [
        ("POST", "/v1/game/decisions", "decisions", {"use_case": "game"}),
        ("POST", "/v1/game/decisions:batch", "decisions_batch", {"use_case": "game"}),
        ("GET", "/v1/game/decisions/d-1", "decision", {"use_case": "game", "decision_id": "d-1"}),
        ("POST", "/v1/hooks/train", "hooks", {"name": "train"}),
        ("POST", "/v1/hooks/events", "hooks", {"name": "events"}),
        ("GET", "/v1/status", "status", {}),
        ("GET", "/", "index", {}),
    ],
)
def test_a_path_leads_to_its_route(method: str, path: str, name: str, values: dict[str, str]) -> None:
    found = find(method, path)
    assert isinstance(found, Found)
    assert (found.route.name, dict(found.values)) == (name, values)


@pytest.mark.parametrize(
    "method, path, methods",
    [("PUT", "/healthz", ("GET",)), ("GET", "/v1/game/events", ("POST",)), ("GET", "/v1/a/b/c/d", ()), ("GET", "/etc", ())],
)
def test_another_path_or_method_does_not(method: str, path: str, methods: tuple[str, ...]) -> None:
    assert find(method, path) == methods


def test_every_route_that_is_counted_exists() -> None:
    assert set(COUNTED) <= {route.name for route in ROUTES}
