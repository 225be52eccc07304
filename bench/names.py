"""R14: hostile names as every id, path and alias, over HTTP, in Python and on the command line: nothing is opened that lies outside."""

import argparse
import asyncio
import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from bench.hostile_names import hostile_names
from bench.rows import Figure, Measurement
from cli.main import main as offerloop
from contracts.errors import OfferloopError
from contracts.settings import Settings, Store
from releases.bundle import read_bundle
from releases.inbox import Inbox
from releases.ledger import Ledger
from releases.signature import sign
from services.bootstrap import start_releases
from serving import operations
from serving.app import App
from serving.console import ROOT
from serving.console.app import COOKIE, Console
from serving.console.desk import Office
from serving.console.rendering import asset
from serving.console.sessions import Sessions
from serving.hooks import Hooks
from serving.keys import drop_key, hook_secret, make_key, owner_key, rotate_key
from serving.operations import Desk
from serving.scenarios import read_picture
from serving.service import DecisionService
from storage.layout import Layout
from use_cases.definition import load, load_all

CANARY = "canary-a5c0ffee-"
WATCHED = frozenset(
    {"open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "sqlite3.connect",
     "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "shutil.rmtree", "shutil.copyfile", "import"}
)  # fmt: skip
"""What Python tells of before it does it."""

Asgi = Callable[[Any, Any, Any], Any]
Try = Callable[[str], object]


class Watch:
    """Hears what is opened, from `begin` on, and holds it against what good names opened before."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._usual: set[str] = set()
        self._state = "learning"
        self.opened: list[str] = []
        sys.addaudithook(self._hear)

    def begin(self) -> None:
        """From now on nothing new may be opened."""
        self._state = "watching"

    def learn(self) -> None:
        """From now on what is opened is usual."""
        self._state = "learning"

    def end(self) -> None:
        """Hear no more."""
        self._state = "ended"

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._state == "ended" or event not in WATCHED or not arguments:
            return
        named = arguments[0]
        if isinstance(named, int) or named is None:
            return
        what = f"{event} {os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else named}"
        if self._state == "learning":
            self._usual.add(what)
        elif what not in self._usual and not self._temporary(what):
            self.opened.append(what)

    def _temporary(self, what: str) -> bool:
        """Whether it is a file that is filled before it is put in place, below the root."""
        path = what.partition(" ")[2]
        real = os.path.realpath(path)
        return real == path and real.startswith(self._root + os.sep) and real.endswith(".tmp") and f"{os.getpid()}" in real


def measure(options: Sequence[str]) -> Measurement:
    """Try every name everywhere, with files beside the root that must never be read."""
    parser = argparse.ArgumentParser(prog="make target ROW=R14 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--names", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="offerloop-bench-") as folder:
        outside = Path(folder).resolve()
        state = outside / "in" / "state"
        state.mkdir(parents=True)
        canaries = [
            outside / "canary.txt",
            outside / "canary.svg",
            outside / "in" / "canary.json",
            outside / "in" / "game" / "manifest.json",
        ]
        for canary in canaries:
            canary.parent.mkdir(exist_ok=True)
            canary.write_text(f"{CANARY}{canary.name}")
        before = _listing(outside, state)
        found = _Tries(Settings(state=str(state), use_cases=(chosen.use_case,), store=Store(map_size_bytes=2**26)), Watch(state))
        found.all(hostile_names(chosen.names, chosen.seed, canaries, (chosen.use_case, *found.known)))
        changed = _listing(outside, state) ^ before
    figures = (
        Figure("things opened outside of what good names open", float(len(found.watch.opened)), 0.0, ""),
        Figure("files beside the root that changed", float(len(changed)), 0.0, ""),
        Figure("answers that hold what stands in a file outside", float(len(found.told)), 0.0, ""),
        Figure("answers above 499", float(len(found.failed)), 0.0, ""),
        Figure("errors that are not ours", float(len(found.crashed)), 0.0, ""),
    )
    notes = [
        f"{chosen.names} names (seed {chosen.seed}), {found.tried} tries: {found.where}",
        *(f"opened: {what[:200]}" for what in found.watch.opened[:5]),
        *(f"told: {what[:200]}" for what in found.told[:3]),
        *(f"failed: {what[:200]}" for what in found.failed[:5]),
        *(f"crashed: {what[:200]}" for what in found.crashed[:5]),
    ]
    return Measurement("R14", figures, tuple(notes))


class _Tries:
    """An installation of one use case, in process, and every way to name something in it."""

    def __init__(self, settings: Settings, watch: Watch) -> None:
        self.watch = watch
        self.told: list[str] = []
        self.failed: list[str] = []
        self.crashed: list[str] = []
        self.where: dict[str, int] = {}
        self._settings = settings
        self._layout = Layout(settings.folder)
        start_releases(settings)
        self._key = owner_key(self._layout)
        ledger = Ledger(self._layout.ledger)
        plan = ledger.plan(settings.use_cases[0])
        ledger.close()
        assert plan is not None
        self.known = (plan.champion.release_id, "champion", "owner", "train", "style.css")

    @property
    def tried(self) -> int:
        """How often anything was asked."""
        return sum(self.where.values())

    def all(self, names: Sequence[str]) -> None:
        """Every name everywhere."""
        for run in (self._of_api, self._of_console, self._of_python, self._of_commands):
            self.watch.learn()
            run([*self.known, *self._settings.use_cases, "nothing-there", "r-0123456789abcdef", "nothing.svg", "7"], "")
            self.watch.learn()
            run(names, run.__name__.removeprefix("_of_"))
        self.watch.end()

    def _of_api(self, names: Sequence[str], where: str) -> None:
        service = DecisionService(self._settings, load_all(self._settings.use_cases))
        hooks = Hooks(self._layout, service.clock)
        with service:
            service.look()
            asyncio.run(self._ask(App(service, hooks), self._api_requests, names, where))
        hooks.close()

    def _of_console(self, names: Sequence[str], where: str) -> None:
        with Office(self._settings) as office:
            asyncio.run(self._ask(Console(office, sleep=_at_once), self._console_requests, names, where))

    def _api_requests(self, name: str) -> Iterator[tuple[str, str, str, dict[str, str], bytes]]:
        (known,) = self._settings.use_cases
        headers = {"authorization": f"Bearer {self._key}"}
        for spelled in (name, quote(name.encode(errors="replace"), safe="")):
            yield "POST", f"/v1/{spelled}/decisions", "", headers, b'{"entity_id":"e"}'
            yield "GET", f"/v1/{known}/decisions/{spelled}", "", headers, b""
            yield "GET", f"/{spelled}", "", headers, b""
        body = b"{}"
        hook_id, now_s = name.encode("ascii", "replace").decode()[:64], int(time.time())
        signed = {"webhook-id": hook_id, "webhook-timestamp": str(now_s)}
        signed["webhook-signature"] = sign(hook_secret(self._layout), hook_id, now_s, body)
        yield "POST", f"/v1/hooks/{name}", "", signed, body
        event = {"event_id": name, "entity_id": name, "type": name, "fields": {name: name}}
        outcome = {"outcome_id": name, "decision_id": name, "reward": 1, "kind": name, "entity_id": name, "corrects": name}
        for path, content in (
            ("decisions", {"entity_id": name, "decision_id": name, "context": {name: name}}),
            ("decisions:batch", {"requests": [{"entity_id": name}]}),
            ("events", {"events": [event]}),
            ("outcomes", {"outcomes": [outcome]}),
        ):
            yield "POST", f"/v1/{known}/{path}", "", {**headers, "x-request-id": name}, _json(content)
        yield "GET", "/v1/status", "", {"authorization": f"Bearer {name}"}, b""

    def _console_requests(self, name: str) -> Iterator[tuple[str, str, str, dict[str, str], bytes]]:
        (known,) = self._settings.use_cases
        if not hasattr(self, "_cookie"):
            self._cookie = Sessions(self._layout).open(self._key)
        headers = {"cookie": f"{COOKIE}={self._cookie}"}
        asked = quote(name.encode(errors="replace"), safe="")
        of = f"{ROOT}/use-cases/{known}"
        for path in (f"{ROOT}/use-cases/{name}/releases", f"{of}/releases/{name}", f"{of}/sign-off/{name}", f"{of}/promote/{name}"):
            yield "GET", path, "", headers, b""
        for path in (f"{ROOT}/assets/{name}", f"{ROOT}/pictures/{known}/{name}", f"{ROOT}/pictures/{name}/{name}", f"{ROOT}/{name}"):
            yield "GET", path, "", headers, b""
        for path, query in (
            (f"{of}/rollback", f"to={asked}&at={asked}"),
            (f"{of}/diff", f"left={asked}&right={asked}&with={asked}&from={asked}&to={asked}"),
            (f"{ROOT}/decisions", f"id={asked}&decision_id={asked}&use_case={asked}"),
            (f"{ROOT}/ledger", f"use_case={asked}&action={asked}&release={asked}&before={asked}"),
            (f"{ROOT}/sign-in", f"next={asked}"),
        ):
            yield "GET", path, query, headers, b""
        yield "GET", f"{ROOT}/", "", {"cookie": f"{COOKIE}={asked}"}, b""

    async def _ask(self, app: Asgi, requests: Callable[[str], Iterator[Any]], names: Sequence[str], where: str) -> None:
        if where:
            self.watch.begin()
        for name in names:
            for method, path, query, headers, body in requests(name):
                status, answer = await _request(app, method, path, query, headers, body)
                said = f"{method} {path[:80]!r} with {name[:60]!r}: {status}"
                if where:
                    self.where[where] = self.where.get(where, 0) + 1
                    if status >= 500:
                        self.failed.append(said)
                if CANARY.encode() in answer:
                    self.told.append(said)
        self.watch.learn()

    def _of_python(self, names: Sequence[str], where: str) -> None:
        (known,) = self._settings.use_cases
        layout, ledger = self._layout, Ledger(self._layout.ledger)
        office = Office(self._settings)
        desk = Desk(layout, ledger, office.use_cases, office.clock)
        inbox = Inbox(layout.ledger)
        ways: Mapping[str, Try] = {
            "load": load,
            "read_bundle": lambda name: read_bundle(layout.bundles, name, layout.secrets),
            "read_picture": lambda name: read_picture(known, name),
            "picture of": lambda name: read_picture(name, "hero.svg"),
            "asset": asset,
            "release": ledger.release,
            "rows": lambda name: ledger.rows(name, release_id=name, action=name),
            "plan": ledger.plan,
            "promote": lambda name: operations.promote(desk, known, name, "bench", "r"),
            "promote in": lambda name: operations.promote(desk, name, self.known[0], "bench", "r"),
            "approve": lambda name: operations.approve(desk, known, name, "bench", "r"),
            "roll back": lambda name: operations.roll_back(desk, known, "bench", "r", to=name),
            "make key": lambda name: drop_key(layout, name) if make_key(layout, name) else None,
            "rotate key": lambda name: rotate_key(layout, name) if name not in ("owner", "services") else None,
            "use case": office.use_case,
            "settings": lambda name: load_all(Settings.build("", {"OFFERLOOP_USE_CASES": name}).use_cases),
        }
        if where:
            self.watch.begin()
        for name in names:
            for way, act in ways.items():
                self._try(way, name, act, where)
        self.watch.learn()
        inbox.close()
        ledger.close()
        office.close()

    def _of_commands(self, names: Sequence[str], where: str) -> None:
        (known,) = self._settings.use_cases
        state = ["--state", str(self._layout.root)]
        commands: Sequence[Callable[[str], list[str]]] = (
            lambda name: ["explain", name],
            lambda name: ["diff", name],
            lambda name: ["releases", name],
            lambda name: ["releases", "--restore", name],
            lambda name: ["live", name],
            lambda name: ["ledger", name],
            lambda name: ["ledger", "--release", name],
            lambda name: ["ledger", "--action", name],
            lambda name: ["approve", known, name],
            lambda name: ["promote", known, name],
            lambda name: ["reject", known, name, "--reason", name],
            lambda name: ["rollback", known, "--to", name],
            lambda name: ["scenarios", name],
            lambda name: ["scenarios", known, name],
            lambda name: ["withhold", known, name],
            lambda name: ["features", "describe", name, name],
            lambda name: ["features", "list", name],
            lambda name: ["quarantine", "list", name],
            lambda name: ["keys", "make", name],
            lambda name: ["keys", "drop", name],
            lambda name: ["experiments", name],
        )
        # why every command for the good names: what it opens is usual then
        turns = [(name, command) for name in names for command in commands] if not where else []
        turns += [(name, commands[number % len(commands)]) for number, name in enumerate(names)] if where else []
        if where:
            self.watch.begin()
        for name, command in turns:
            if name.startswith("-") or (not where and name == "owner"):
                continue
            words = command(name)
            self._try(words[0], name, lambda _, words=words: self._run([*state, *words]), where)  # type: ignore[misc]
        self.watch.learn()

    def _run(self, words: list[str]) -> None:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            offerloop(words)
        if CANARY in said.getvalue():
            self.told.append(" ".join(words)[:200])

    def _try(self, way: str, name: str, act: Try, where: str) -> None:
        try:
            said = act(name)
        except OfferloopError as error:
            said = error
        except Exception as error:  # noqa: BLE001  why: whatever is not of our family is what is looked for
            said = error
            if where:
                self.crashed.append(f"{way} with {name[:60]!r}: {error!r}")
        if where:
            self.where[where] = self.where.get(where, 0) + 1
        if CANARY in str(said):
            self.told.append(f"{way} with {name[:60]!r}")


async def _request(app: Asgi, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """One request as a server hands it on: the path decoded, with what is no UTF-8 replaced."""
    path = path.encode(errors="replace").decode()
    sent: list[dict[str, Any]] = []
    head = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    head += [(b"host", b"here"), (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": quote(path.encode(errors="replace")).encode(), "query_string": query.encode(), "root_path": "", "headers": head,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    given = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(given, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent[1:])


def _json(content: object) -> bytes:
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:
        return b'{"entity_id":"\\ud800"}'


def _listing(folder: Path, but: Path) -> set[str]:
    """Every file below a folder, but for one part of it, with its content."""
    return {f"{path} {path.read_bytes()!r}" for path in folder.rglob("*") if path.is_file() and but not in path.parents}


async def _at_once(_: float) -> None:
    return None
