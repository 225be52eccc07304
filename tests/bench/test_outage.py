import httpx
import pytest

from bench.outage import is_silent


@pytest.mark.parametrize(
    ("status", "headers", "silent"),
    [
        (503, {}, True),
        (429, {}, True),
        (503, {"retry-after": ""}, True),
        (503, {"retry-after": "1"}, False),
        (429, {"Retry-After": "30"}, False),
        (200, {}, False),
        (404, {}, False),
    ],
)
def test_who_refuses_for_now_is_to_say_until_when(status: int, headers: dict[str, str], silent: bool) -> None:
    assert is_silent(httpx.Response(status, headers=headers)) == silent
