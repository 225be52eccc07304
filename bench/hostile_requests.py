"""Hostile requests: good ones, spoiled in their JSON, their bytes, their path, their headers, their framing or their size."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from serving.examples import EXAMPLES

LIMIT = 1_048_576
"""Bytes of a body that are taken."""

PATHS = {"decisions": "decisions", "decisions_batch": "decisions:batch", "events": "events", "outcomes": "outcomes"}
"""The routes that take something, by name, and the ends of their paths."""

Spoil = Callable[[random.Random, "Good"], "Hostile"]


@dataclass(frozen=True, slots=True)
class Good:
    """A request that would be answered: its route, its path and what it says."""

    name: str
    path: str
    says: Any
    key: str


@dataclass(frozen=True, slots=True)
class Hostile:
    """A spoiled request.

    Attributes:
        how: in which way.
        raw: all its bytes.
        framed: whether it is still HTTP, so that an answer must come.
        field: the field that a refusal must name; empty where any will do.
        status: that its answer must have; 0 where any but a fault will do.
    """

    how: str
    raw: bytes
    framed: bool = True
    field: str = ""
    status: int = 0


def hostile(use_case: str, key: str, seed: int, count: int) -> Iterator[Hostile]:
    """So many hostile requests."""
    draw = random.Random(seed)
    goods = [Good(name, f"/v1/{use_case}/{path}", msgspec.to_builtins(EXAMPLES[name].takes), key) for name, path in PATHS.items()]
    spoils: tuple[tuple[Spoil, int], ...] = (
        (_values, 40),
        (_named_field, 12),
        (_texts, 12),
        (_paths, 12),
        (_headers, 10),
        (_framing, 10),
        (_nested, 2),
        (_sizes, 2),
    )
    kinds = [spoil for spoil, weight in spoils for _ in range(weight)]
    for _ in range(count):
        yield draw.choice(kinds)(draw, draw.choice(goods))


def request(good: Good, body: bytes, path: str = "", headers: str = "", method: str = "POST", length: bool = True) -> bytes:
    """A request as bytes."""
    framed = f"content-length: {len(body)}\r\n" if length else ""
    own = f"host: x\r\nauthorization: Bearer {good.key}\r\n"
    head = f"{method} {path or good.path} HTTP/1.1\r\n{own}{headers}{framed}\r\n"
    return head.encode("utf-8", "surrogateescape") + body


ODD: tuple[bytes, ...] = (
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"9" * 400, b"-" + b"9" * 30, b"9223372036854775808", b"1e-400", b"-0",
    b"null", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"\xff\xfe"', b"01", b"+1",
    b'"' + b"x" * 5_000 + b'"', b'"../../etc/passwd"', b'"\xe2\x80\xae"', b'"\xf0\x9f\x92\xa3"', b'"a b"', b'"' + b"a" * 129 + b'"', b".5",
    b"5.", b"0x10", b"'a'", b"undefined", b'{"a":1,"a":2}', b"[[[[[[[[[[]]]]]]]]]]", b'"$(id)"', b'"%00"', b'"\xc0\xaf"',
    b'"' + b"\\u00e9" * 200 + b'"',
)  # fmt: skip
"""Values, as JSON or what pretends to be, that stand where others are expected."""


def _values(draw: random.Random, good: Good) -> Hostile:
    text = json.dumps(good.says).encode()
    spots = [spot for spot in _spots(good.says) if spot]
    marker = "\u0001spoiled\u0001"
    body = json.dumps(_put(good.says, draw.choice(spots), marker)).encode().replace(json.dumps(marker).encode(), draw.choice(ODD))
    if draw.random() < 0.1:
        body = text.replace(b'": ', b'": ' + draw.choice((b"[", b"{", b" \t\r\n ", b"//x\n")), 1)
    return Hostile("a value", request(good, body))


WRONG: Mapping[str, tuple[Any, ...]] = {
    "entity_id": (5, None, "", "a b", "a" * 129, [], True),
    "decision_id": (5, "", "ä", "a" * 129, {}),
    "context": (5, "x", [], {"a": [1]}, {"a": {"b": 1}}, {"n" * 65: 1}, {str(number): 1 for number in range(65)}),
}


def _named_field(draw: random.Random, good: Good) -> Hostile:
    field = draw.choice(tuple(WRONG))
    says = {"entity_id": "p-1", field: draw.choice(WRONG[field])}
    path = good.path.rpartition("/")[0] + "/decisions"
    if draw.random() < 0.2:
        field, says = "body", {"entity_id": "p-1", draw.choice(("", "Entity_id", "entity_id ", "__proto__", "x" * 1_000)): 1}
    return Hostile("a field", request(good, json.dumps(says).encode(), path), field=field, status=422)


def _texts(draw: random.Random, good: Good) -> Hostile:
    text = json.dumps(good.says).encode()
    cut = draw.randrange(len(text))
    body = draw.choice(
        (
            text[:cut],
            text + text[:cut],
            b"\xef\xbb\xbf" + text,
            text.decode().encode("utf-16"),
            draw.randbytes(draw.randrange(300)),
            text[:cut] + bytes([draw.randrange(256)]) + text[cut + 1 :],
            b"\x00" * draw.randrange(1, 2_000),
            b" " * draw.randrange(1, 2_000),
            b"",
            text[:-1] + b',"extra":1}',
            text[:-1] + b"," + text[1:],
        )
    )
    return Hostile("a text", request(good, body))


SEGMENTS = (
    "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "%ff%fe", "a" * 129, "a" * 7_000, "%F0%9F%92%A3", "\u202e", "shop%2fevents", "%252e",
    "%20", "%0d%0ax:%20y", "~", "*", ";x=1", "%", "%zz", "'", "\\", "a|b", "CON", "decisions", ".", "{use_case}", "<script>", "-1",
)  # fmt: skip


def _paths(draw: random.Random, good: Good) -> Hostile:
    use_case = good.path.split("/")[2]
    one, other = draw.choice(SEGMENTS), draw.choice(SEGMENTS)
    path = draw.choice(
        (
            f"/v1/{one}/decisions",
            f"/v1/{use_case}/{one}",
            f"/v1/{use_case}/decisions/{one}",
            f"/v1/{use_case}/decisions/{one}/{other}",
            f"/{one}/{other}",
            f"/v1/hooks/{one}",
            f"{good.path}?{one}={other}",
            f"//{good.path}",
            f"{good.path}/",
            f"http://elsewhere{good.path}",
        )
    )
    method = draw.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"))
    return Hostile("a path", request(good, b"{}" if method == "POST" else b"", path, method=method), framed=False)


def _headers(draw: random.Random, good: Good) -> Hostile:
    headers = draw.choice(
        (
            "content-type: text/plain\r\n",
            "content-type: application/json; charset=utf-16\r\n",
            "content-encoding: gzip\r\n",
            "expect: 100-continue\r\n",
            "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n",
            "x-request-id: " + draw.choice(("a b", "\x7f", "x" * 5_000, "\udcff\udcfe", "<script>")) + "\r\n",
            "x-request-start: " + draw.choice(("0", "-1", "9" * 300, "soon", "1e9")) + "\r\n",
            "authorization: " + draw.choice(("Bearer", "Basic !", "Basic " + "A" * 4_000, "Bearer \udcff", "Digest x", "")) + "\r\n",
            "x-long: " + "y" * draw.randrange(1_000, 30_000) + "\r\n",
            "".join(f"x-{number}: y\r\n" for number in range(draw.randrange(50, 150))),
            "range: bytes=0-\r\n",
            "x-forwarded-for: ::1\r\nx-forwarded-host: elsewhere\r\n",
            "sec-fetch-site: cross-site\r\n",
            "accept: \udcff\r\naccept-encoding: \udcff\r\n",
            "traceparent: \udcff\r\n",
        )
    )
    # why: these are no HTTP any more, more headers than a proxy takes, or the beginning of another protocol
    framed = not any(one in headers for one in ("x-long", "upgrade", "\x7f", "x-85"))
    return Hostile("a header", request(good, json.dumps(good.says).encode(), headers=headers), framed)


def _framing(draw: random.Random, good: Good) -> Hostile:
    text = json.dumps(good.says).encode()
    chunked = "transfer-encoding: chunked\r\n"
    size = b"%x" % len(text)
    raw = draw.choice(
        (
            request(good, size + b"\r\n" + text + b"\r\n0\r\n\r\n", headers=chunked, length=False),
            request(good, b"zz\r\n" + text + b"\r\n0\r\n\r\n", headers=chunked, length=False),
            request(good, b"-1\r\n\r\n", headers=chunked, length=False),
            request(good, b"ffffffffffffffffff\r\n" + text, headers=chunked, length=False),
            request(good, size + b";ext=" + b"x" * 500 + b"\r\n" + text + b"\r\n0\r\ntrailer: x\r\n\r\n", headers=chunked, length=False),
            request(good, b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n", headers=chunked, length=False),
            request(good, size + b"\r\n" + text + b"\r\n0\r\n\r\n", headers=chunked),
            request(good, text, headers="content-length: 5\r\n"),
            request(good, text, headers="content-length: -5\r\n", length=False),
            request(good, text, headers="content-length: 99999999999999999999\r\n", length=False),
            request(good, text, headers="content-length: 5, 7\r\n", length=False),
            request(good, text, headers="transfer-encoding: chunked, identity\r\n", length=False),
            request(good, text, headers="transfer-encoding : chunked\r\n"),
            request(good, text, headers=" folded: x\r\n"),
            request(good, text, headers="no colon\r\n"),
            request(good, text).replace(b"HTTP/1.1", draw.choice((b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9", b"http/1.1", b"X")), 1),
            request(good, text).replace(b"host: x\r\n", b"", 1),
            request(good, text).replace(b"\r\n", b"\n"),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 40,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(200),
            draw.randbytes(draw.randrange(1, 500)),
            b"GET " + b"/" * 20_000 + b" HTTP/1.1\r\n\r\n",
            request(good, text)[: draw.randrange(10, 200)],
        )
    )
    return Hostile("framing", raw, framed=False)


def _nested(draw: random.Random, good: Good) -> Hostile:
    deep = draw.choice((100, 1_000, 20_000, 200_000))
    inner = draw.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"b":', b"}]")))
    body = inner[0] * deep + (b"1" + inner[1] * deep if draw.random() < 0.5 else b"")
    item = {"decisions_batch": b"requests"}.get(good.name, good.name.encode())
    wrapped = draw.choice((body, b'{"' + item + b'":[' + body + b"]}", b'{"entity_id":"p-1","context":{"a":' + body + b"}}"))
    return Hostile("nested", request(good, wrapped[:LIMIT]))


def _sizes(draw: random.Random, good: Good) -> Hostile:
    if draw.random() < 0.5:
        return Hostile("too large", request(good, b" " * (LIMIT + draw.randrange(1, 3))), status=413)
    item = {"decisions_batch": "requests"}.get(good.name, good.name)
    one = json.dumps(good.says[item][0] if item in good.says else {"entity_id": "p-1"})
    many = "[" + ",".join([one] * 1_001) + "]"
    name = item if item in good.says else "requests"
    path = good.path if item in good.says else f"{good.path}:batch"
    return Hostile("too many", request(good, f'{{"{name}":{many}}}'.encode(), path), status=413)


def _spots(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _spots(one, (*at, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _spots(one, (*at, number))


def _put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    if isinstance(value, dict):
        return {name: _put(one, at[1:], new) if name == at[0] else one for name, one in value.items()}
    return [_put(one, at[1:], new) if number == at[0] else one for number, one in enumerate(value)]
