"""The API of a new installation in one process, behind uvicorn alone: all of the application and nothing around it, up within seconds."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from bench.bare_servers import free_port
from bench.processes import running
from contracts.settings import Ports, Settings, Store
from services.bootstrap import start_releases
from serving.app import App
from serving.direct import DirectProtocol
from serving.hooks import Hooks
from serving.keys import hook_secret, owner_key
from serving.service import DecisionService
from storage.layout import Layout


@contextmanager
def one_process(use_case: str) -> Iterator[tuple[Settings, Path]]:
    """An API of one use case on a free port, in a folder of its own; its settings and its log. Ended with the block.

    Raises:
        ServiceFailed: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="offerloop-bench-") as folder:
        settings = Settings(
            state=str(Path(folder) / "state"), use_cases=(use_case,), ports=Ports(api=free_port()), store=Store(map_size_bytes=2**31)
        )
        log = Path(folder) / "api.log"
        command = [sys.executable, "-m", "bench.one_process", settings.state, use_case, str(settings.ports.api)]
        with running(command, os.environ, log, f"http://127.0.0.1:{settings.ports.api}/readyz"):
            yield settings, log


def main(state: str, use_case: str, port: str) -> None:
    """Serve until ended."""
    settings = Settings(state=state, use_cases=(use_case,), ports=Ports(api=int(port)), store=Store(map_size_bytes=2**31))
    start_releases(settings)
    owner_key(Layout(settings.folder))
    hook_secret(Layout(settings.folder))
    with DecisionService(settings) as service:
        hooks = Hooks(service.layout, service.clock)
        app = App(service, hooks)
        uvicorn.run(app, host="127.0.0.1", port=int(port), loop="uvloop", http=as_replicas_do(app), log_level="warning")


def as_replicas_do(app: App) -> type[DirectProtocol]:
    """The protocol of a replica's connections, with nobody who counts requests."""

    class Protocol(DirectProtocol):
        def __init__(self, **usual: Any) -> None:
            super().__init__(app, Uncounted(), **usual)

    return Protocol


class Uncounted:
    """Stands for Ray's count of requests."""

    def begin(self) -> None:
        """One more."""

    def end(self) -> None:
        """One less."""


if __name__ == "__main__":
    main(*sys.argv[1:])
