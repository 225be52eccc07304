"""R15: secrets wherever they may be given or are made; traffic, errors and flows; then a search for them in all that is said and kept."""

import argparse
import base64
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.rows import Figure, Measurement
from bench.served import COMMAND, Served, served
from cli.flow_runs import follow, trigger
from client.client import Client
from client.messages import Event, Outcome
from contracts.errors import OfferloopError
from services import ports as noted
from services.ports import Addresses
from services.processes import instance_of, members
from serving.console.app import PAGES
from serving.environment import short_folder
from serving.keys import hook_secret, make_key, metrics_key, owner_key, rotate_key, services_key
from storage.layout import Layout

VARIABLES = ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "DATABASE_PASSWORD", "GRAFANA_TOKEN", "MLFLOW_S3_TOKEN")
"""Variables in which people have secrets where `offerloop up` is typed."""

CONTROL = "surely-there"
"""Begins the ids of entities, which must be found, or the search would be blind."""

SETTLE_S = 4.0
FLOW_S = 30.0


def measure(options: Sequence[str]) -> Measurement:
    """Run an installation with canaries, let it do everything, and search all that it wrote, says and shows."""
    parser = argparse.ArgumentParser(prog="make target ROW=R15 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--seed", default="1", help="stands in every canary")
    chosen = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="offerloop-canaries-") as folder:
        given = _given(Path(folder), chosen.use_case, chosen.seed)
        with served(chosen.use_case, 1, given.variables) as running:
            layout = running.desk.layout
            addresses = noted.read(layout)
            assert addresses is not None
            canaries = given.canaries | _made(layout)
            said = {"the command line": _commands(layout, given.variables)}
            runs = _live(running, addresses, chosen.use_case)
            canaries |= _made(layout)
            said |= dict(_pages(running, addresses, chosen.use_case))
            said["command lines of processes"] = "\n".join(" ".join(process.cmdline()) for process in members(instance_of(layout.root)))
            places = [layout.root, short_folder(running.settings)]
            read, found = _search(places, layout, canaries)
            shown = [f"{name} in {place}" for place, text in said.items() for name in _in(text.encode(errors="replace"), canaries)]
            unsafe = _unsafe(layout)
            release_id = running.desk.ledger.releases(chosen.use_case)[0].release_id
            surely = {CONTROL: _search(places, layout, {CONTROL: CONTROL.encode()})[1]}
            surely |= {release_id: [place for place, text in said.items() if release_id in text]}
            blind = [name for name, where in surely.items() if not where]
        refused = _refused(Path(folder), chosen.use_case, chosen.seed)
    figures = (
        Figure("canaries in files", float(len(found)), 0.0, ""),
        Figure("canaries on pages, in metrics, APIs, outputs and command lines", float(len(shown)), 0.0, ""),
        Figure("secrets that others than their owner could read", float(len(unsafe)), 0.0, ""),
        Figure("things that are surely there and were not found", float(len(blind)), 0.0, ""),
        Figure("canaries in what is said of a wrong setting", float(len(refused)), 0.0, ""),
    )
    notes = [
        f"{len(canaries)} canaries: {', '.join(sorted(canaries))}",
        f"searched: {read} files of state, logs, databases, journal, registry and Ray's folder; {len(said)} pages, APIs and outputs",
        f"flows meanwhile: {', '.join(runs)}; nobody answers where attributes lie, so that what is said of failures is searched too",
        *found[:8],
        *shown[:8],
        *unsafe[:5],
        *refused[:5],
    ]
    return Measurement("R15", figures, tuple(notes))


class _Given:
    """What somebody gives an installation: variables, and the secrets in them and in the files that they name."""

    def __init__(self, variables: Mapping[str, str], canaries: Mapping[str, bytes]) -> None:
        self.variables = dict(variables)
        self.canaries = dict(canaries)


def _given(folder: Path, use_case: str, seed: str) -> _Given:
    variables = {name: f"canary-{seed}-{name.lower()}-9f31c7" for name in VARIABLES}
    canaries = {name: value.encode() for name, value in variables.items()}
    password = folder / "pgpass"
    canaries["a password in a pgpass file"] = f"canary-{seed}-pgpass-77ab".encode()
    password.write_bytes(b"*:*:*:*:" + canaries["a password in a pgpass file"] + b"\n")
    password.chmod(0o600)
    variables["OFFERLOOP_ATTRIBUTE_SOURCES__PROFILE"] = f"postgresql://reader@127.0.0.1:1/shop?passfile={password}"
    certificate, key = folder / "edge.crt", folder / "edge.key"
    pem = _certificate(certificate, key)
    canaries["the key of TLS"] = pem.splitlines()[1][:48]
    variables |= {"OFFERLOOP_SERVING__TLS_CERTIFICATE": str(certificate), "OFFERLOOP_SERVING__TLS_KEY": str(key)}
    return _Given(variables, canaries)


def _made(layout: Layout) -> dict[str, bytes]:
    """Every secret that the installation made, as it is and as headers carry it."""
    keys = {"the owner's key": owner_key(layout), "the services' key": services_key(layout), "Prometheus' key": metrics_key(layout)}
    found = {name: key.encode() for name, key in keys.items()}
    # why thrice: how Base64 spells a key depends on the name before it
    found |= {f"{name}, as a password ({pad})": base64.b64encode(b"x" * pad + key)[4:-4] for name, key in found.items() for pad in range(3)}
    found["the secret of webhooks"] = hook_secret(layout).partition("_")[2].encode()
    for name in ("ray_token", "console_secret"):
        found[name] = (layout.secrets / name).read_bytes().strip()
    signing = (layout.secrets / "release-signing.pem").read_bytes().splitlines()
    found["the key that signs releases"] = signing[1][16:]
    return found


def _commands(layout: Layout, variables: Mapping[str, str]) -> str:
    """What the command line says of the installation, and what it printed when it started."""
    environment = os.environ | variables
    words = (["status"], ["doctor"], ["keys", "list"], ["ledger"], ["why"], ["console"], ["quarantine", "list", "game_promotion"])
    said = []
    for one in words:
        command = [COMMAND, "--state", str(layout.root), *one]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        said.append(done.stdout + done.stderr)
    return "\n".join(said)


def _live(running: Served, addresses: Addresses, use_case: str) -> list[str]:
    """Traffic, errors, wrong keys, people, flows; how each of the flows ended."""
    layout = running.desk.layout
    with Client(addresses.api, running.key) as client:
        for number in range(60):
            answer = client.decide(use_case, f"{CONTROL}-{number % 7}")
            client.send_outcomes(use_case, [Outcome(f"o{number}", answer.decision_id, 1)])
        client.send_events(use_case, [Event(f"x{number}", "e1", "nonsense", 1, {"a": 1}) for number in range(3)])
    temporary = make_key(layout, "temporary")
    rotate_key(layout, "owner", keep_for_s=3_600.0)
    wrong = running.key[:-2] + "xx"
    with httpx.Client(base_url=addresses.api, trust_env=False, timeout=20.0) as client:
        for key in (wrong, temporary, running.key):
            for kind in ("Bearer", "Digest"):
                client.post(f"/v1/{use_case}/decisions", headers={"authorization": f"{kind} {key}"}, content=b'{"entity_id": 1}')
                client.get("/v1/status", headers={"authorization": f"{kind} {key}"})
        client.post(
            "/v1/hooks/train",
            headers={"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": hook_secret(layout)},
            content=b"{}",
        )
        page = client.get("/console/sign-in")
        for key in (wrong, running.key):
            token = page.text.partition('name="token" value="')[2].partition('"')[0]
            client.post("/console/sign-in", data={"token": token, "key": key})
            page = client.get("/console/sign-in")
    for address in (addresses.mlflow, addresses.prefect, addresses.metrics):
        for key in (wrong, running.key):
            httpx.get(address, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=20.0)
    ended = []
    for flow in ("features", "train", "monitor"):
        asked = trigger(layout, addresses, flow, {"use_case": use_case} if flow != "monitor" else {})
        late = threading.Event()
        timer = threading.Timer(FLOW_S, late.set)
        timer.start()
        try:
            ended.append(f"{flow} {follow(layout, addresses, asked, stopping=late).state.lower()}")
        except KeyboardInterrupt:
            ended.append(f"{flow} still runs")
        except OfferloopError as error:
            ended.append(f"{flow} refused: {error}")
        timer.cancel()
    time.sleep(SETTLE_S)
    return ended


def _pages(running: Served, addresses: Addresses, use_case: str) -> Iterator[tuple[str, str]]:
    """Everything that is shown to who has a key, and Ray's to who has its token."""
    layout = running.desk.layout
    keyed = {"authorization": f"Bearer {owner_key(layout)}"}
    ray = {"authorization": f"Bearer {(layout.secrets / 'ray_token').read_text()}"}
    counts = f"http://127.0.0.1:{addresses.ray.metrics}/metrics"
    statistics = f"http://127.0.0.1:{addresses.ports.proxy_statistics}"
    asked = [(f"{addresses.api}{path}", keyed) for path in ("/", "/docs", "/openapi.json", "/v1/status")]
    asked += [(addresses.metrics, keyed), (counts, {}), (f"{statistics}/metrics", keyed), (f"{statistics}/stats", keyed)]
    paths = (
        "/api/serve/applications/",
        "/api/jobs/",
        "/api/v0/actors",
        "/api/v0/nodes",
        "/api/v0/workers",
        "/api/v0/runtime_envs",
        "/nodes?view=details",
    )
    asked += [
        (f"{addresses.ray_dashboard}{path}", ray) for path in (*paths, "/api/v0/tasks", "/api/cluster_metadata", "/events", "/api/v0/logs")
    ]
    asked += [(f"{addresses.mlflow}/api/2.0/mlflow/experiments/search?max_results=99", keyed), (f"{addresses.mlflow}/", keyed)]
    asked += [(f"{addresses.prefect}/api/{path}", keyed) for path in ("admin/settings", "admin/version", "health", "ui-settings")]
    with httpx.Client(trust_env=False, timeout=30.0) as client:
        for address, headers in asked:
            yield address, client.get(address, headers=headers).text
        for kind in ("flow_runs", "task_runs", "deployments", "logs", "artifacts", "variables", "block_documents", "work_pools", "events"):
            answer = client.post(f"{addresses.prefect}/api/{kind}/filter", headers=keyed, json={})
            yield f"prefect {kind}", answer.text
        runs = client.post(f"{addresses.mlflow}/api/2.0/mlflow/runs/search", headers=keyed, json={"experiment_ids": ["0", "1", "2"]})
        yield "mlflow runs", runs.text
    with httpx.Client(base_url=addresses.api, trust_env=False, timeout=30.0) as browser:
        token = browser.get("/console/sign-in").text.partition('name="token" value="')[2].partition('"')[0]
        browser.post("/console/sign-in", data={"token": token, "key": owner_key(layout)})
        release_id = running.desk.ledger.releases(use_case)[-1].release_id
        for template in PAGES:
            path = f"/console{template.format(use_case=use_case, release_id=release_id)}"
            yield path, browser.get(path).text


def _search(places: Sequence[Path], layout: Layout, canaries: Mapping[str, bytes]) -> tuple[int, list[str]]:
    """How many files there are, and which of them hold a canary. Only the secrets folder may."""
    read = 0
    found = []
    for place in places:
        for path in sorted(place.rglob("*")):
            if path.is_file() and not path.is_symlink() and layout.secrets not in path.parents:
                read += 1
                found += [f"{name} in {path}" for name in _in(path.read_bytes(), canaries)]
    return read, found


def _in(content: bytes, canaries: Mapping[str, bytes]) -> list[str]:
    return [name for name, canary in canaries.items() if canary in content]


def _unsafe(layout: Layout) -> list[str]:
    """Files of secrets that others could read."""
    paths = [layout.secrets, *layout.secrets.rglob("*")]
    state = [f"{layout.root} lets every account of the machine in"] if layout.root.stat().st_mode & 0o007 else []
    return state + [f"{path} is {path.stat().st_mode & 0o777:o}" for path in paths if path.stat().st_mode & 0o077 and path.suffix != ".pub"]


def _refused(folder: Path, use_case: str, seed: str) -> list[str]:
    """A secret where none may be: what is said must not repeat it."""
    canary = f"canary-{seed}-wrongplace-51"
    wrong = {
        "OFFERLOOP_ATTRIBUTE_SOURCES__PROFILE": f"postgresql://reader:{canary}@127.0.0.1:1/shop",
        "OFFERLOOP_ATTRIBUTE_SOURCES": canary,
        "OFFERLOOP_PORTS__API": canary,
        "OFFERLOOP_STATE__X": canary,
        "OFFERLOOP_API_KEY": canary,
        "OFFERLOOP_SERVING__TLS_KEY__X": canary,
    }
    found = []
    for name, value in wrong.items():
        environment = {**os.environ, "OFFERLOOP_STATE": str(folder / "none"), "OFFERLOOP_USE_CASES": use_case, name: value}
        done = subprocess.run(
            [COMMAND, "up", "--detach"], env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        logs = folder / "none" / "logs"
        said = done.stdout + done.stderr + "".join(path.read_text(errors="replace") for path in logs.glob("*") if path.is_file())
        if canary in said or done.returncode == 0:
            found.append(f"{name}: {'started' if done.returncode == 0 else said.replace(canary, 'CANARY')[-160:]}")
        shutil.rmtree(logs, ignore_errors=True)
    return found


def _certificate(certificate: Path, key_file: Path) -> bytes:
    """Write a self-signed certificate for loopback, and its key, which is returned."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "offerloop")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(pem)
    key_file.chmod(0o600)
    return pem
