"""A real Prometheus on a port of its own, asked over its HTTP API."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Prometheus:
    """A running Prometheus. `query` puts in what Grafana would: a minute, and every use case."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        filled = expression.replace("$__rate_interval", "1m").replace("$use_case", ".*")
        found: list[Any] = self.ask("query", query=filled)["result"]
        return found

    def until(self, happened: Callable[["Prometheus"], bool]) -> None:
        for _ in range(300):
            try:
                if happened(self):
                    return
            except (urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.2)
        raise TimeoutError("Prometheus did not come to it within a minute")


@contextmanager
def running(configuration: Path, folder: Path, port: int) -> Iterator[Prometheus]:
    """Run until the block ends; skip the test where there is none."""
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is missing: Debian's prometheus")
    address = f"127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={address}"]
    with (folder / "prometheus.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            started = Prometheus(f"http://{address}")
            started.until(lambda asked: asked.ask("status/runtimeinfo")["reloadConfigSuccess"])
            yield started
        finally:
            process.terminate()
            process.wait(30)
