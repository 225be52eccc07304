"""What listens of a whole installation, and what it tells who has no key."""

import importlib
import pkgutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import grpc  # type: ignore[import-untyped]  # why: it ships no types
import httpx
import psutil

from bench.served import Served
from services import ports as noted
from services.processes import instance_of, members

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
REFUSED = (401, 403)
SILENT = (400, 404, 405, 411, 415, 501)
"""What says only that there is no such path, or nothing of that kind."""

HEALTH = ("/healthz", "/readyz", "/health", "/api/health", "/-/healthz", "/-/routes", "/api/gcs_healthz", "/api/authentication_mode")
"""Paths that tell anybody that something lives, or how to show a key; `/-/routes` names the two applications."""

ASKED = (
    "/", "/metrics", "/stats", "/stats;csv", "/docs", "/openapi.json", "/v1/status", "/graphql", "/version", "/api/version", "/api/jobs/",
    "/api/v0/actors", "/api/serve/applications/", "/nodes?view=summary", "/logs", "/api/admin/settings", "/api/admin/version", "/api/docs",
    "/api/flow_runs/filter", "/api/deployments/filter", "/api/block_documents/filter", "/api/variables/filter", "/ui-settings", "/runs",
    "/api/2.0/mlflow/experiments/search", "/ajax-api/2.0/mlflow/experiments/search?max_results=9", "/api/2.0/mlflow/model-versions/search",
    "/api/2.0/mlflow-artifacts/artifacts", "/get-artifact?path=x&run_uuid=x", "/api/3.0/mlflow/traces/search", "/static-files/index.html",
    "/health/../api/2.0/mlflow/experiments/search", "//health", "/api/health/../flow_runs/filter", "/%2e%2e/metrics", "/health%2f..%2fx",
    "/console/", "/console/ledger", "/ledger", "/-/healthz/../docs", "/worker/x", "/runtime_env", "/log_proxy?url=http://127.0.0.1",
)  # fmt: skip
"""Asked of every port that speaks HTTP, by GET and by POST."""

MORE = ("Get", "Check", "List", "Ping", "Cluster", "Health", "Handle")
ASK_S = 5.0
_GRPC = ("ray.core.generated", "ray.serve.generated")


@dataclass
class Listening:
    """The ports of an installation, by number, each with the name of its process.

    Attributes:
        counts: the port of Ray's counts of requests, for Prometheus, which can ask for no key.
        elsewhere: what listens beyond loopback. `answered`: what told a stranger anything. `unknown`: of which nothing could be shown.
    """

    ports: dict[int, str]
    counts: int
    dashboard: int
    elsewhere: list[str]
    answered: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    http: int = 0
    rpc: int = 0
    asked: int = 0

    @classmethod
    def of(cls, running: Served) -> "Listening":
        """What listens now."""
        layout = running.desk.layout
        addresses = noted.read(layout)
        assert addresses is not None
        names = {process.pid: process.name() for process in members(instance_of(layout.root))}
        found: dict[int, str] = {}
        elsewhere = []
        for one in psutil.net_connections("inet"):
            listens = one.status == psutil.CONN_LISTEN or (one.type.name == "SOCK_DGRAM" and not one.raddr)
            if one.pid in names and listens:
                ip, port = one.laddr  # type: ignore[misc]  # why: it is empty only for what does not listen
                found[port] = names[one.pid]
                if ip not in LOOPBACK:
                    elsewhere.append(f"{names[one.pid]} listens on {ip}:{port}")
        return cls(found, addresses.ray.metrics, addresses.ports.ray_dashboard, elsewhere)

    def ask(self) -> None:
        """Ask every port for everything, with no key and with wrong ones."""
        for port, name in sorted(self.ports.items()):
            if port == self.counts:
                continue
            if self._speaks_http(port):
                self.http += 1
                self.answered += [f"{name} ({port}): {said}" for said in self._over_http(port)]
            elif codes := self._over_grpc(port):
                self.rpc += 1
                self.answered += [f"{name} ({port}): {method} {code}" for method, code in codes.items() if code == "OK"]
                if "UNAUTHENTICATED" not in codes.values():
                    self.unknown.append(f"{name} ({port}) never said that a token is missing: {sorted(set(codes.values()))}")
            elif told := _first_words(port):
                self.answered.append(f"{name} ({port}) says by itself: {told!r}")

    def _speaks_http(self, port: int) -> bool:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=ASK_S, trust_env=False)
        except httpx.TransportError:
            return False
        return True

    def _over_http(self, port: int) -> Iterator[str]:
        basic = {"authorization": "Basic b3duZXI6b2xrX3dyb25n", "x-ray-authorization": "Bearer wrong"}
        wrong: tuple[dict[str, str], ...] = ({}, {"authorization": "Bearer olk_wrong"}, basic)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ASK_S, trust_env=False) as client:
            # why: Ray's empty page, in which one enters the token; it holds nothing of the installation, however it is asked for
            shell = client.get("/").text if port == self.dashboard else None
            for path in (*ASKED, *HEALTH):
                for method in ("GET", "POST", "DELETE"):
                    for headers in wrong:
                        answer = client.request(method, path, headers=headers, content=None if method == "GET" else b"{}")
                        self.asked += 1
                        to_sign_in = answer.status_code == 303 and "/sign-in" in answer.headers["location"]
                        health = path in HEALTH or (method == "GET" and answer.text == shell)
                        if answer.status_code not in (*REFUSED, *SILENT) and not to_sign_in and not health:
                            yield f"{method} {path} {headers.get('authorization', '')}: {answer.status_code} {answer.text[:60]!r}"

    def _over_grpc(self, port: int) -> dict[str, str]:
        """By method, how it ends; empty where nobody speaks gRPC."""
        codes: dict[str, str] = {}
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=ASK_S)
            except grpc.FutureTimeoutError:
                return {}
            for method in _methods():
                try:
                    channel.unary_unary(method)(b"", timeout=ASK_S)
                    codes[method] = "OK"
                except grpc.RpcError as error:
                    codes[method] = error.code().name
                self.asked += 1
        return codes


def _first_words(port: int) -> bytes:
    """What a port says to who connects and sends a line."""
    with socket.create_connection(("127.0.0.1", port), timeout=ASK_S) as connection:
        connection.settimeout(1.0)
        try:
            connection.sendall(b"hello\r\n\r\n")
            return connection.recv(256)
        except OSError:
            return b""


@cache
def _methods() -> tuple[str, ...]:
    """Methods of all services of Ray that read something, or hand a request on."""
    # why by name: Ray generates no Python of it
    found = [f"/ray.rpc.ObjectManagerService/{name}" for name in ("Push", "Pull", "FreeObjects")]
    for package in _GRPC:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if module.name.endswith("_pb2"):
                for service in importlib.import_module(f"{package}.{module.name}").DESCRIPTOR.services_by_name.values():
                    plain = [method.name for method in service.methods if not method.client_streaming]
                    found += [f"/{service.full_name}/{name}" for name in plain if name.startswith(MORE)][:4]
    return tuple(found)
