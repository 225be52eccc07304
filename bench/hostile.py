"""R10: hostile HTTP, random and made from the API's own document: nothing above 499, no crash, nothing large, and refusals that say why."""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from bench.hostile_requests import Hostile, hostile
from bench.one_process import one_process
from bench.rows import Figure, Measurement
from bench.served import served
from contracts.errors import ServiceFailed
from serving.keys import owner_key
from serving.messages import Problem
from storage.layout import Layout

CONNECTIONS = 16
PATIENCE_S = 15.0
UNFRAMED_S = 0.2
"""What is no HTTP may well be waited for to go on."""

SHOWN = 5


@dataclass
class Found:
    """What came of hostile requests.

    Attributes:
        unframed: that are no whole HTTP, which an answer need not come to; `left` of them had none.
        silent: that had to be answered and were not.
        unclear: refused without a problem, or without the field that is to blame.
        wrong: answered with another status than they had to be.
    """

    asked: int = 0
    unframed: int = 0
    left: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def measure(options: Sequence[str]) -> Measurement:
    """Send hostile requests to the API in one process, a share of them through a whole installation, and let Schemathesis look, too."""
    parser = argparse.ArgumentParser(prog="make target ROW=R10 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.2, help="of the cases, sent through a whole installation; 0 for none")
    parser.add_argument("--examples", type=int, default=100, help="of Schemathesis, an operation and phase; 0 for none")
    chosen = parser.parse_args(options)
    far = round(chosen.cases * chosen.share)
    with one_process(chosen.use_case) as (settings, log):
        key = owner_key(Layout(settings.folder))
        near = asyncio.run(send(settings.ports.api, hostile(chosen.use_case, key, chosen.seed, chosen.cases - far)))
        findings = (
            [schemathesis(settings.ports.api, key if keyed else "", chosen.examples, chosen.seed) for keyed in (True, False)]
            if chosen.examples
            else []
        )
        lives = int(_lives(settings.ports.api))
        traces = log.read_text().count("Traceback")
    both = [near]
    if far:
        with served(chosen.use_case, 1) as running:
            port = running.settings.ports.api
            both.append(asyncio.run(send(port, hostile(chosen.use_case, running.key, chosen.seed + 1, far))))
            lives = min(lives, int(_lives(port)))
    figures = (
        Figure("cases", float(sum(one.asked for one in both)), float(chosen.cases), "", at_most=False),
        Figure("answers above 499", float(sum(len(one.faults) for one in both)), 0.0, ""),
        Figure("requests without an answer", float(sum(len(one.silent) for one in both)), 0.0, ""),
        Figure("refusals that do not say why", float(sum(len(one.unclear) for one in both)), 0.0, ""),
        Figure("answers with another status than due", float(sum(len(one.wrong) for one in both)), 0.0, ""),
        Figure("exceptions in the service's log", float(traces), 0.0, ""),
        Figure("servers that answer afterwards", float(lives), 1.0, "", at_most=False),
        Figure("findings of Schemathesis", float(sum(count for count, _ in findings)), 0.0, ""),
    )
    where = ("one process", "a whole installation")
    notes = [
        f"{where[number]}: {one.asked} cases, statuses {dict(sorted(one.statuses.items()))}; {one.unframed} need no answer, since they may "
        f"be no HTTP (hostile paths, headers, framing), {one.left} of these had none (status 0)"
        for number, one in enumerate(both)
    ]
    notes.append("one process is the API alone under uvicorn, where Schemathesis looks too; an installation has HAProxy and Ray before it")
    notes += [f"Schemathesis, {'without' if number else 'with'} a key: {said}" for number, (_, said) in enumerate(findings)]
    notes += [line for one in both for lines in (one.faults, one.silent, one.unclear, one.wrong) for line in lines[:SHOWN]]
    return Measurement("R10", figures, tuple(notes))


async def send(port: int, cases: Iterator[Hostile]) -> Found:
    """Send cases, each over a connection of its own, several at once."""
    found = Found()

    async def one() -> None:
        for case in cases:
            found.asked += 1
            judge(found, case, await exchange(port, case.raw, PATIENCE_S if case.framed else UNFRAMED_S))

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return found


async def exchange(port: int, raw: bytes, patience_s: float) -> bytes:
    """What is answered to these bytes, nothing coming after them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = b""
    try:
        writer.write(raw)
        async with asyncio.timeout(patience_s):
            while not whole(answered) and (part := await reader.read(65_536)):
                answered += part
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()
    return answered


def whole(answered: bytes) -> bool:
    r"""Whether an answer is there to its end.

    Example:
        >>> whole(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), whole(b"HTTP/1.1 200 OK\r\n")
        (True, False)
    """
    head, end, body = answered.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return whole(body)
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return bool(end) and length is not None and len(body) >= int(length[1])


def judge(found: Found, case: Hostile, answered: bytes) -> None:
    """Note what is wrong with an answer."""
    head, _, body = answered.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    told = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    found.unframed += not case.framed
    shown = f"{case.how}: {case.raw[:300]!r} → {answered[:300]!r}"
    if told is None:
        found.statuses[0] += 1
        found.left += not case.framed
        if case.framed:
            found.silent.append(shown)
        return
    status = int(told[1])
    found.statuses[status] += 1
    if status > 499:
        found.faults.append(shown)
    if case.status and status != case.status:
        found.wrong.append(shown)
    if status >= 400 and case.framed and not _clear(case, status, body):
        found.unclear.append(shown)


def _clear(case: Hostile, status: int, body: bytes) -> bool:
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        return False
    named = problem.field or ""
    return problem.status == status and bool(problem.detail) and (status != 422 or (bool(named) and named.startswith(case.field)))


def _lives(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def schemathesis(port: int, key: str, examples: int, seed: int) -> tuple[int, str]:
    """Let Schemathesis look at a running API, all checks on; how much it found, and what it says of it.

    Raises:
        ServiceFailed: it could not run.
    """
    address = f"http://127.0.0.1:{port}"
    document = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", str(document), "--url", address, "--checks", "all"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure", "--no-color"]
    command += ["-H", f"Authorization: Bearer {key}"] if key else []
    path = os.pathsep.join([str(document.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "bench.schemathesis_hooks", "PYTHONPATH": path}
    # why: it leaves a folder with what it found where it runs
    with tempfile.TemporaryDirectory(prefix="offerloop-bench-") as folder:
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    lines = [line.strip() for line in done.stdout.splitlines()]
    cases = next((line for line in lines if re.match(r"\d+ generated", line)), "")
    if not cases:
        raise ServiceFailed("schemathesis", f"ended with {done.returncode}: {(done.stdout + done.stderr)[-600:]}", "its own output")
    kinds = [line for line in lines if re.match(r"- [A-Z]{2}\d+", line)]
    failed = [line for line in lines if re.match(r"❌ [A-Z]{2}\d+ ", line) or line.startswith("🚫 ")]
    count = len(kinds) if done.returncode else 0
    return max(count, int(done.returncode != 0)), "; ".join([cases, *failed, *sorted(set(kinds))])
