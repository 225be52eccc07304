"""R7: a kill at each point of writing, and a full disk: nothing acknowledged is lost, no half file is read, and it goes on by itself.

A point is a call that writes, before it, within it or behind it: of the operating system, of SQLite, of LMDB, of Polars. They are
counted, and hit, by a profile function in a child that was forked for it; nothing of ours is changed for that.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from bench.full_disk import fill_up
from bench.rows import Figure, Measurement
from bench.written import look, tell
from contracts.settings import Settings, Store
from use_cases.definition import UseCase, load

_FILES = ("write", "writelines", "open", "close", "truncate", "ftruncate", "posix_fallocate", "fsync", "fdatasync")
_FOLDERS = ("rename", "replace", "unlink", "mkdir", "rmdir", "link", "chmod", "utime")
_STORES = ("execute", "executescript", "commit", "write_parquet")
CALLS = frozenset((*_FILES, *_FOLDERS, *_STORES))
"""Names of functions in C that write, or make what was written count."""

OF_LMDB = frozenset({"put", "delete", "commit"})
COMMITS = frozenset({"_together", "_apart", "finish"})
"""Functions of the journal around LMDB's commit, which is called by no name."""

OF_JOURNAL = ("storage/journal.py", "storage/transaction.py")
WITHIN_S = (0.000_02, 0.000_5)
WITHIN = "within"
MAP_SIZE = 2**26

Point: TypeAlias = tuple[str, int]
"""A place in the code, with what is called there and whether before, within or behind it; and the how manieth passing of it."""


def measure(options: Sequence[str]) -> Measurement:
    """Count the points of the story, be killed at each of a sample of them, look at what is left, and tell the story to its end."""
    parser = argparse.ArgumentParser(prog="make target ROW=R7 ARGS=…")
    parser.add_argument("--use-case", default="email_promotion")
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    use_case = load(chosen.use_case)
    kills = kill_at_points(use_case, chosen.points, chosen.seed)
    full = fill_up(use_case, chosen.seed)
    figures = (
        Figure("points of writing at which it was killed", float(kills.killed), float(chosen.points), "", at_most=False),
        Figure("kills after which something was wrong", float(len(kills.wrong)), 0.0, ""),
        Figure("stories that did not come to their end afterwards", float(len(kills.unfinished)), 0.0, ""),
        Figure("full disks", float(full.times), 2.0, "", at_most=False),
        Figure("wrong with a full disk", float(len(full.wrong)), 0.0, ""),
    )
    notes = [
        f"the story of an installation passes {kills.points} points at {kills.places} places of the code: each place in turn",
        "a point is before, within (20 to 500 µs in) or behind a call that writes: journal, ledger, bundles, manifests, Parquet, keys",
        "processes are killed, not the machine: the kernel keeps what they wrote, so that a sync which is missing is not found by this",
        "looked for: each acknowledged decision, event, outcome, plan, key, trigger, once and as told; bundles and tables that can be read",
        *full.notes,
        *kills.wrong[:5],
        *kills.unfinished[:5],
        *full.wrong[:5],
    ]
    return Measurement("R7", figures, tuple(notes))


class Kills:
    """What came of killing at points."""

    def __init__(self, points: int, places: int) -> None:
        self.points = points
        self.places = places
        self.killed = 0
        self.wrong: list[str] = []
        self.unfinished: list[str] = []


def kill_at_points(use_case: UseCase, count: int, seed: int) -> Kills:
    """Tell the story once to count its points; then, at each of `count` of them, be killed."""
    with tempfile.TemporaryDirectory(prefix="offerloop-kills-", dir=_quick_folder()) as folder:
        whole = forked(lambda say: _told(Path(folder) / "whole", use_case, say, None, seed))
        counts: dict[str, int] = next((content for kind, content in whole.said if kind == "points"), {})
        kills = Kills(sum(counts.values()), len(counts))
        if whole.status or not counts:
            kills.unfinished.append(f"the story ended with {whole.status} when nobody was killed: {whole.trouble}")
            return kills
        for number, point in enumerate(_in_turn(counts, random.Random(seed))):
            # why: threads write too, each in its own time, so that a point is not reached each time
            if kills.killed == count or number == 2 * count:
                break
            state = Path(folder) / str(number)
            _one(state, use_case, point, seed + number, kills)
            shutil.rmtree(state, ignore_errors=True)
    return kills


def _in_turn(counts: Mapping[str, int], chance: random.Random) -> Iterator[Point]:
    """Every place in the code before any for the second time; of each, passings at random."""
    left = {place: chance.sample(range(1, count + 1), count) for place, count in counts.items()}
    while left:
        for place in chance.sample(sorted(left), len(left)):
            yield place, left[place].pop()
        left = {place: passings for place, passings in left.items() if passings}


def _one(state: Path, use_case: UseCase, point: Point, seed: int, kills: Kills) -> None:
    told = forked(lambda say: _told(state, use_case, say, point, seed))
    kills.killed += told.killed
    seen = forked(lambda say: say("found", look(_settings(state, use_case), use_case, told.said)))
    found = next((content for kind, content in seen.said if kind == "found"), [f"it could not be read: {seen.trouble}"])
    again = forked(lambda say: _told(state, use_case, say, None, seed))
    after = forked(lambda say: say("found", look(_settings(state, use_case), use_case, [*told.said, *again.said])))
    found += next((content for kind, content in after.said if kind == "found"), [f"it could not be read: {after.trouble}"])
    kills.wrong += [f"{point}: {one}" for one in found]
    if not any(kind == "end" for kind, _ in again.said):
        kills.unfinished.append(f"{point}: {again.trouble}")


class Forked:
    """What a child said before it ended, and how it did."""

    def __init__(self, said: list[tuple[str, Any]], status: int) -> None:
        self.trouble = next((content for kind, content in said if kind == "trouble"), "")
        self.said = [(kind, content) for kind, content in said if kind != "trouble"]
        self.status = status

    @property
    def killed(self) -> bool:
        """Whether it was."""
        return self.status in (-signal.SIGKILL, -signal.SIGALRM)


def forked(act: Callable[[Callable[[str, Any], None]], object]) -> Forked:
    """Let a child do something; it says things on the way, each whole or not at all."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        code = 1

        def say(kind: str, content: Any) -> None:
            os.write(writing, json.dumps([kind, content]).encode() + b"\n")

        try:
            act(say)
            code = 0
        except BaseException:  # noqa: BLE001  why: a child that was forked must end here, whatever it was that failed
            say("trouble", traceback.format_exc()[-600:])
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    _, status = os.waitpid(process, 0)
    return Forked([tuple(json.loads(line)) for line in lines if line.endswith(b"\n")], os.waitstatus_to_exitcode(status))


def _told(state: Path, use_case: UseCase, say: Callable[[str, Any], None], point: Point | None, seed: int) -> None:
    """Tell the story; be killed at a point of it, and say how often each place was passed."""
    chance = random.Random(seed)
    passed: Counter[str] = Counter()

    def hit(frame: FrameType, name: str, phase: str) -> None:
        place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {name} {phase}"
        passed[place] += 1
        if (place, passed[place]) == point:
            if phase != WITHIN:
                os.kill(os.getpid(), signal.SIGKILL)
            # why: nobody handles it, so the kernel ends the process at once, wherever it is by then
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(*WITHIN_S))

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and _writes(argument):
            hit(frame, argument.__name__, "before")
            hit(frame, argument.__name__, WITHIN)
        elif event == "c_return" and _writes(argument):
            hit(frame, argument.__name__, "behind")
        elif event == "return" and frame.f_code.co_name in COMMITS and frame.f_code.co_filename.endswith(OF_JOURNAL):
            hit(frame, frame.f_code.co_name, "behind")
            hit(frame, frame.f_code.co_name, WITHIN)

    def acknowledge(kind: str, content: Any) -> None:
        sys.setprofile(None)
        say(kind, content)
        sys.setprofile(profile)

    threading.setprofile(profile)
    sys.setprofile(profile)
    tell(_settings(state, use_case), use_case, acknowledge)
    sys.setprofile(None)
    threading.setprofile(None)
    say("points", passed)


def _writes(function: Any) -> bool:
    name = function.__name__
    return name in CALLS or (name in OF_LMDB and type(function.__self__).__name__ == "Transaction")


def _settings(state: Path, use_case: UseCase) -> Settings:
    return Settings(state=str(state), use_cases=(use_case.name,), store=Store(map_size_bytes=MAP_SIZE))


def _quick_folder() -> str | None:
    """Memory, where there is enough of it: a kill leaves what was written there as well, and there are many."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None
