"""A real HTTP server of the API's shapes, which fails as a test asks it to. What it answers is not ours to decide here: the client is."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = tuple[int, dict[str, Any], dict[str, str]]

ANSWER = {
    "decision_id": "d-1",
    "entity_id": "p-1",
    "action": "gems",
    "content": {"text": "Gems!"},
    "propensity": 0.5,
    "release_id": "r-1",
    "arm": "champion",
    "arm_probability": 0.9,
    "degraded": [],
    "decided_at": 1,
    "expires_at": 2,
    "a_later_field": True,
}


@dataclass
class Server:
    """Answers each request with the next of `replies`, then with `then`; None closes the connection without an answer."""

    address: str = ""
    replies: list[Reply | None] = field(default_factory=list)
    then: Callable[[str, Any], Reply] = lambda path, body: (200, ANSWER | {"decision_id": body.get("decision_id", "d-1")}, {})
    requests: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port of loopback."""
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(raw) if raw else {}
            made.requests.append((self.command, self.path, body, {name.lower(): value for name, value in self.headers.items()}))
            reply = made.replies.pop(0) if made.replies else made.then(self.path, body)
            if reply is None:
                self.close_connection = True
                return
            status, content, headers = reply
            data = json.dumps(content).encode()
            self.send_response(status)
            for name, value in ({"content-type": "application/json", "content-length": str(len(data))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def log_message(self, format: str, *args: object) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made.address = f"http://127.0.0.1:{listening.server_port}"
    yield made
    listening.shutdown()
    listening.server_close()
    thread.join()
