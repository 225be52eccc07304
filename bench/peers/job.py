"""One point-in-time job in a process of its own: it times itself, without start and imports, and tells its peak memory."""

import argparse
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """What to compute: from files of events and a spine to a Parquet file, in so much memory."""

    events: list[Path]
    spine: Path
    out: Path
    memory: str
    tiles: Path | None


def main(compute: Callable[[Job], object]) -> None:
    """Run the job that the command line names; the last line printed is its JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=Path, help="a folder of Parquet files")
    parser.add_argument("--spine", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--tiles", type=Path)
    asked = parser.parse_args()
    job = Job(sorted(asked.events.rglob("*.parquet")), asked.spine, asked.out, asked.memory, asked.tiles)
    began = time.perf_counter()
    compute(job)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Most memory that this process had, in MB."""
    # why: the peak that `getrusage` tells is inherited from the process that started this one
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")
