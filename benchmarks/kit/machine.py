"""The facts of the machine that figures depend on."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

from msgspec import Struct

_PACKAGES = (
    "kernelckpt",
    "msgspec",
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
)
_SYNCS = 40


class Machine(Struct, frozen=True):
    """Cores, memory, load before the run, versions, and what a sync costs.

    Attributes:
        cores: processors that this process may use.
        memory_mb: of the machine.
        load: processes that wanted to run in the minute before; above `cores`, times are worth little.
        system: the operating system.
        file_system: of the folder the storages lie in.
        sync_ms: a write of 4 KiB and its `fdatasync` there, the median.
        versions: of Python, SQLite and packages.
    """

    cores: int
    memory_mb: int
    load: float
    system: str
    file_system: str
    sync_ms: float
    versions: dict[str, str]


def machine() -> Machine:
    """The facts of this machine, now."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        load=round(os.getloadavg()[0], 2),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        file_system=_file_system(tempfile.gettempdir()),
        sync_ms=round(_sync_seconds() * 1000, 3),
        versions={
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{name: found for name in _PACKAGES if (found := _version(name))},
        },
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _file_system(folder: str) -> str:
    """The type of the mount that holds a folder; the longest mount point that is a parent of it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    real = Path(folder).resolve()
    holding = [mount for mount in mounts if real.is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2]


def _sync_seconds() -> float:
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_SYNCS):
            began = perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            took.append(perf_counter() - began)
    return sorted(took)[_SYNCS // 2]
