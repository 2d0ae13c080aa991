"""How much memory a process has had."""

import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mib() -> int:
    """The most memory that this process had at any time; what it was forked from may have had more."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if "VmHWM" in line) // 1024
