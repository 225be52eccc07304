"""TLS at the edge: the real HAProxy, with certificates made here, and clients that trust them alone."""

import asyncio
import os
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from client.aio import AsyncClient
from client.client import Client
from contracts.errors import RequestFailed, SettingsError
from contracts.settings import Ports, Serving, Settings
from serving.certificate import Certificate, Renewals, certificate_path, put_in_force, read_certificate, write_certificate
from serving.environment import short_folder, variables
from serving.haproxy import ask
from storage.layout import Layout
from tests.installation import wait_until
from tests.serving.test_environment import RENDERED


def certificate(folder: Path, name: str, days: int = 30) -> tuple[Path, Path]:
    """The files of a self-signed certificate for loopback, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(whose)
        .issuer_name(whose)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=40))
        .not_valid_after(datetime.now(UTC) + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


ANSWER = {
    "entity_id": "e-1",
    "action": "gems",
    "content": {},
    "propensity": 0.5,
    "release_id": "r-1",
    "arm": "champion",
    "arm_probability": 0.8,
    "degraded": [],
    "decided_at": 1,
    "expires_at": 2,
}


class _Replica(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said = str(self.headers.get("x-forwarded-proto")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"]))
        said = msgspec.json.encode(ANSWER | {"decision_id": msgspec.json.decode(asked)["decision_id"]})
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Connections that HAProxy cuts when it is killed."""


@pytest.fixture
def settings(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Settings]:
    named = [str(file) for file in certificate(tmp_path, "first")]
    ports = Ports(api=free_port(), inner=free_port(), proxy_statistics=free_port())
    made = Settings(state=str(tmp_path / "state"), ports=ports, serving=Serving(tls_certificate=named[0], tls_key=named[1]))
    yield made
    folder = short_folder(made)
    for file in folder.glob("*") if folder.is_dir() else ():
        file.unlink()
    if folder.is_dir():
        folder.rmdir()


@pytest.fixture
def edge(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """HAProxy as Ray starts it, before one replica."""
    replica = _Server(("127.0.0.1", 0), _Replica)
    threading.Thread(target=replica.serve_forever, daemon=True).start()
    write_certificate(settings)
    script = variables(settings, settings.ports)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    folder = short_folder(settings)
    text = RENDERED.format(folder=folder, api=settings.ports.inner, statistics=settings.ports.proxy_statistics)
    (folder / "haproxy.cfg").write_text(text.replace("127.0.0.1:9 check", f"127.0.0.1:{replica.server_port}"))
    with subprocess.Popen([script, "-db", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL) as proxy:
        try:
            with httpx.Client(trust_env=False) as client:
                wait_until(lambda: _answers(client, f"http://127.0.0.1:{settings.ports.inner}/x"), 20.0)
            yield proxy
        finally:
            proxy.kill()
            replica.shutdown()
            replica.server_close()


def _answers(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(address).status_code == 200
    except httpx.TransportError:
        return False


def trusting(file: str, at_most: ssl.TLSVersion | None = None) -> httpx.Client:
    context = ssl.create_default_context(cafile=file)
    if at_most is not None:
        # why: by itself the library here would speak no version that old, whatever the edge does
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = at_most
    return httpx.Client(verify=context, trust_env=False)


@pytest.mark.usefixtures("edge")
def test_the_edge_serves_tls_and_the_installations_own_processes_without(settings: Settings) -> None:
    address = f"https://127.0.0.1:{settings.ports.api}/x"
    with trusting(settings.serving.tls_certificate) as client:
        answer = client.get(address, headers={"x-forwarded-proto": "http"})
        assert (answer.status_code, answer.text) == (200, "https")
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert answer.headers["x-content-type-options"] == "nosniff" and "server" not in answer.headers
        refused = client.get(f"https://127.0.0.1:{settings.ports.api}/-/routes")
        assert refused.status_code == 404 and "strict-transport-security" in refused.headers
        inner = client.get(f"http://127.0.0.1:{settings.ports.inner}/x")
        assert inner.text == "None" and "strict-transport-security" not in inner.headers
    with httpx.Client(trust_env=False) as stranger:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.get(address)
        with pytest.raises(httpx.TransportError):
            stranger.get(address.replace("https", "http"))


@pytest.mark.usefixtures("edge")
def test_old_versions_of_tls_are_refused(settings: Settings) -> None:
    address = f"https://127.0.0.1:{settings.ports.api}/x"
    with trusting(settings.serving.tls_certificate, ssl.TLSVersion.TLSv1_2) as client:
        assert client.get(address).status_code == 200
    with trusting(settings.serving.tls_certificate, ssl.TLSVersion.TLSv1_1) as old, pytest.raises(httpx.ConnectError):
        old.get(address)


@pytest.mark.usefixtures("edge")
def test_a_renewed_certificate_is_served_without_a_restart_and_a_wrong_one_is_not(settings: Settings, tmp_path: Path) -> None:
    address, ended = f"https://127.0.0.1:{settings.ports.api}/x", threading.Event()
    renewals = Renewals(settings, ended, look_s=0.05)
    renewals.start()
    try:
        with trusting(settings.serving.tls_certificate) as kept:
            assert kept.get(address).status_code == 200
            Path(settings.serving.tls_certificate).write_text("no certificate")
            other = certificate(tmp_path, "second")
            os.replace(other[1], settings.serving.tls_key)
            other[0].with_name("trusted.pem").write_bytes(other[0].read_bytes())
            os.replace(other[0], settings.serving.tls_certificate)
            with trusting(str(other[0].with_name("trusted.pem"))) as client:
                wait_until(lambda: _answers(client, address), 10.0)
            assert kept.get(address).status_code == 200
    finally:
        ended.set()
        renewals.join()


@pytest.mark.usefixtures("edge")
def test_a_chain_is_taken_whole_whatever_stands_between_its_parts(settings: Settings, tmp_path: Path) -> None:
    files, above = certificate(tmp_path, "renewed"), certificate(tmp_path, "above")
    leaf, key, chain = (file.read_bytes() for file in (*files, above[0]))
    Path(settings.serving.tls_certificate).write_bytes(b"subject=R\xe9gie\n" + leaf + b"\n\r\n" + chain)
    Path(settings.serving.tls_key).write_bytes(b"\n# \xff\n\n" + key)
    found = write_certificate(settings)
    assert found is not None and put_in_force(settings, found) == 1
    (place,) = short_folder(settings).glob("admin.sock*")
    served = ask(place, f"show ssl cert {certificate_path(Layout(settings.folder))}\n")
    assert "\nSubject: /CN=renewed\n" in served and "\nChain Subject: /CN=above\n" in served
    broken = Certificate(b"not PEM, \n\nand a secret", found.until, ())
    with pytest.raises(OSError, match="HAProxy refuses 'set ssl cert'") as caught:
        put_in_force(settings, broken)
    assert "secret" not in str(caught.value)


def test_a_certificate_that_was_not_taken_is_tried_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    tries: list[int] = []

    def put(*_: object) -> int:
        tries.append(len(tries))
        if len(tries) < 4:
            raise (TimeoutError("busy"), TimeoutError("busy"), UnicodeError("odd"))[len(tries) - 1]
        ended.set()
        return 1

    monkeypatch.setattr("serving.certificate.put_in_force", put)
    renewals = Renewals(settings, ended, look_s=0.01)
    os.replace(certificate(tmp_path, "second")[0], settings.serving.tls_certificate)
    os.replace(tmp_path / "second.key", settings.serving.tls_key)
    renewals.run()
    assert len(tries) == 4
    assert caplog.text.count("busy") == caplog.text.count("odd") == 1


@pytest.mark.usefixtures("edge")
def test_the_typed_clients_trust_the_authority_that_they_are_given_and_no_other(settings: Settings) -> None:
    address, trusted = f"https://127.0.0.1:{settings.ports.api}", settings.serving.tls_certificate

    async def ask(ca_file: str) -> str:
        async with AsyncClient(address, "olk_x", patience_s=0.1, ca_file=ca_file) as client:
            return (await client.decide("shop", "e-1")).action

    with Client(address, "olk_x", ca_file=trusted) as client:
        assert client.decide("shop", "e-1").action == "gems"
    assert asyncio.run(ask(trusted)) == "gems"
    with Client(address, "olk_x", patience_s=0.1) as stranger, pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.decide("shop", "e-1")
    with pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(ask(""))


def test_certificate_and_key_are_kept_for_their_owner_alone(settings: Settings) -> None:
    found = write_certificate(settings)
    path = certificate_path(Layout(settings.folder))
    assert found is not None and found.names == ("127.0.0.1",)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes().count(b"-----BEGIN") == 2
    assert read_certificate(Settings()) is None


def test_what_cannot_be_served_is_said_with_its_setting(settings: Settings, tmp_path: Path) -> None:
    other, old = certificate(tmp_path, "other"), certificate(tmp_path, "old", days=-1)
    wrong = {
        "tls_certificate.*can be read": {"tls_certificate": str(tmp_path / "none.pem")},
        "tls_certificate.*PEM certificates": {"tls_certificate": str(other[1])},
        "tls_key.*key of the first": {"tls_key": str(other[1])},
        "tls_key.*PEM key": {"tls_key": str(other[0])},
        "tls_certificate.*holds still": {"tls_certificate": str(old[0]), "tls_key": str(old[1])},
    }
    for said, changed in wrong.items():
        serving = msgspec.structs.replace(settings.serving, **changed)
        with pytest.raises(SettingsError, match=said):
            read_certificate(msgspec.structs.replace(settings, serving=serving))
