import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from contracts.errors import Unauthorized
from releases.inbox import Inbox
from releases.signature import sign
from serving.hooks import Hooks
from serving.keys import hook_secret
from serving.service import DecisionService

from .conftest import Shop

Http = Callable[..., httpx.AsyncClient]
BODY = b'{"use_case":"shop"}'


def signed(secret: str, hook_id: str = "h-1", seconds_ago: int = 0, body: bytes = BODY) -> dict[str, str]:
    sent = int(time.time()) - seconds_ago
    return {"webhook-id": hook_id, "webhook-timestamp": str(sent), "webhook-signature": sign(secret, hook_id, sent, body)}


def post(http: Http, headers: dict[str, str], body: bytes = BODY, name: str = "train") -> httpx.Response:
    return asyncio.run(http().post(f"/v1/hooks/{name}", content=body, headers=headers))


def test_a_signed_webhook_becomes_a_row_of_the_inbox(http: Http, shop: Shop) -> None:
    response = post(http, signed(hook_secret(shop.layout)))
    assert (response.status_code, response.json()["status"]) == (202, "waiting")
    row = Inbox(shop.layout.ledger).row(response.json()["inbox_id"])
    assert (row.name, row.source, row.payload) == ("train", "webhook", {"use_case": "shop"})


def test_a_webhook_is_taken_once(http: Http, shop: Shop) -> None:
    headers = signed(hook_secret(shop.layout))
    assert [post(http, headers).status_code for _ in range(2)] == [202, 401]
    assert len(Inbox(shop.layout.ledger).rows()) == 1


@pytest.mark.parametrize("what", ["unsigned", "altered", "stale", "other secret"])
def test_any_other_is_rejected(http: Http, shop: Shop, what: str) -> None:
    secret = hook_secret(shop.layout)
    headers = {
        "unsigned": {},
        "altered": signed(secret, body=b"{}"),
        "stale": signed(secret, seconds_ago=400),
        "other secret": signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    }[what]
    assert post(http, headers).status_code == 401
    assert Inbox(shop.layout.ledger).rows() == []


def test_the_secret_before_is_valid_while_it_is_replaced(http: Http, shop: Shop) -> None:
    old = hook_secret(shop.layout)
    (shop.layout.secrets / "hook_secret").rename(shop.layout.secrets / "hook_secret.old")
    new = hook_secret(shop.layout)
    assert [post(http, signed(secret, hook_id=secret[-5:])).status_code for secret in (old, new)] == [202, 202]


@pytest.mark.parametrize("body, status", [(b"[]", 422), (b"{", 422), (b" " * 65_537, 413), (b"", 202)])
def test_its_body_is_an_object_or_nothing(http: Http, shop: Shop, body: bytes, status: int) -> None:
    assert post(http, signed(hook_secret(shop.layout), body=body), body).status_code == status


def test_without_a_secret_nobody_can_sign(shop: Shop, service: DecisionService) -> None:
    hooks = Hooks(shop.layout, service.clock)
    with pytest.raises(Unauthorized, match="no secret"):
        hooks.take("train", {}, BODY)
    hooks.close()
