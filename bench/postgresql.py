"""A real PostgreSQL server on a port of its own, as an unprivileged user, with a password: where attributes lie."""

import os
import pwd
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from contracts.errors import ToolMissing

USER = "shop"


@dataclass(frozen=True)
class Server:
    """A running server. Who knows the password file may read and write everything."""

    port: int
    passfile: Path
    pid: int

    @property
    def url(self) -> str:
        """As settings name it: without the password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres?passfile={self.passfile}"

    def do(self, *statements: str) -> None:
        """Do statements, in one transaction."""
        with psycopg.connect(self.url) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def running(port: int) -> Iterator[Server]:
    """Run until the block ends.

    Raises:
        ToolMissing: there is none on this machine.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders and shutil.which("initdb") is None:
        raise ToolMissing("PostgreSQL", "apt-get install postgresql")
    binaries = folders[-1] if folders else Path(str(shutil.which("initdb"))).parent
    # why: PostgreSQL does not run as root, and pytest's folders are closed to others
    folder = Path(mkdtemp(prefix="offerloop-postgresql-"))
    account = _account()
    try:
        yield from _run(binaries, folder, port, account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(binaries: Path, folder: Path, port: int, account: int | None) -> Iterator[Server]:
    password, data = secrets.token_hex(12), folder / "data"
    secret, passfile = folder / "password", folder / "passfile"
    for file, text in ((secret, password), (passfile, f"127.0.0.1:{port}:*:{USER}:{password}\n")):
        file.write_text(text)
        file.chmod(0o600)
    if account is not None:
        for path in (folder, secret):
            os.chown(path, account, account)
    make: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        USER,
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
        "--no-sync",
        "--encoding=UTF8",
    ]
    subprocess.run(make, check=True, capture_output=True, user=account, cwd=folder)
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "timezone": "Asia/Tokyo"}
    command: list[str | Path] = [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, user=account, cwd=folder) as process:
        try:
            server = Server(port, passfile, process.pid)
            _wait(binaries, port, process)
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _wait(binaries: Path, port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        asked = subprocess.run([binaries / "pg_isready", "-q", "-t", "1", "-h", "127.0.0.1", "-p", str(port)], check=False)
        if asked.returncode == 0:
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise TimeoutError("PostgreSQL did not start within a minute")


def _account() -> int | None:
    return None if os.getuid() != 0 else pwd.getpwnam("nobody").pw_uid
