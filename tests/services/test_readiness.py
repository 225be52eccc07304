import os
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from services.readiness import Beat, Http, Port


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()
        self.wfile.write(b"state: ready")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_http_is_ready_by_status_and_text(free_port: Callable[[], int]) -> None:
    port = free_port()
    assert not Http(f"http://127.0.0.1:{port}/200").holds(0.0)
    with HTTPServer(("127.0.0.1", port), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{port}"
            assert Http(f"{address}/200", "ready").holds(0.0)
            assert not Http(f"{address}/200", "sleeping").holds(0.0)
            assert not Http(f"{address}/401").holds(0.0)
        finally:
            server.shutdown()


def test_a_port_is_ready_when_something_listens(free_port: Callable[[], int]) -> None:
    port = free_port()
    assert not Port("127.0.0.1", port).holds(0.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert Port("127.0.0.1", port).holds(0.0)


def test_a_beat_counts_when_it_is_of_this_start_and_not_old(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    assert not Beat(beat).holds(0.0)
    beat.touch()
    now = beat.stat().st_mtime
    assert Beat(beat).holds(now - 1.0)
    assert not Beat(beat).holds(now + 1.0)
    os.utime(beat, (time.time() - 100, time.time() - 100))
    assert not Beat(beat, within_s=30.0).holds(0.0)
