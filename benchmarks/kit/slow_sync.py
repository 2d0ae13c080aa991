"""A slower disk for every side alike: a library, loaded before the others, that delays each sync."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static int slowly(const char *name, int fd) {
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);
    usleep(DELAY_US);
    return real(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
"""


def slow_sync(folder: Path, delay_ms: float) -> dict[str, str]:
    """The environment of a process whose syncs each take so much longer; needs gcc.

    Args:
        folder: where the library is built.
        delay_ms: added to every `fsync` and `fdatasync`, of SQLite's as of Python's.
    """
    library = folder / "slow_sync.so"
    flags = ["-shared", "-fPIC", "-O2", f"-DDELAY_US={round(delay_ms * 1000)}"]
    subprocess.run(
        ["gcc", *flags, "-x", "c", "-", "-o", str(library), "-ldl"], input=_SOURCE.encode(), check=True
    )
    return {"LD_PRELOAD": str(library)}
