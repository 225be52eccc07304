"""Whether a service answers yet."""

import socket
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Http:
    """Ready when GET answers with a status below 300 and a body that holds `text`."""

    url: str
    text: str = ""

    def holds(self, started_s: float) -> bool:
        """Whether it is so now."""
        # why: asked every second for every service, so without the tens of milliseconds that a client with TLS takes to make
        address = urlsplit(self.url)
        with closing(HTTPConnection(address.netloc, timeout=TIMEOUT_S)) as connection:
            try:
                connection.request("GET", address.path or "/")
                answer = connection.getresponse()
                return answer.status < 300 and self.text in answer.read().decode(errors="replace")
            except (OSError, HTTPException):
                return False


@dataclass(frozen=True, slots=True)
class Port:
    """Ready when something listens."""

    host: str
    port: int

    def holds(self, started_s: float) -> bool:
        """Whether it is so now."""
        try:
            with socket.create_connection((self.host, self.port), timeout=TIMEOUT_S):
                return True
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Beat:
    """Ready while a file is touched at least every `within_s` seconds, by the service that was started last."""

    path: Path
    within_s: float = 30.0

    def holds(self, started_s: float) -> bool:
        """Whether it is so now, for a service started at `started_s` (real seconds since 1970)."""
        try:
            beaten_s = self.path.stat().st_mtime
        except FileNotFoundError:
            return False
        return beaten_s >= started_s and time.time() - beaten_s <= self.within_s


Check: TypeAlias = Http | Port | Beat
