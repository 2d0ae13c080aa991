"""What authors of backends and agents test with: the conformance suite, a clock, faults and crashes."""

from kernelckpt.testing.clock import ManualClock
from kernelckpt.testing.conformance import StorageConformance
from kernelckpt.testing.crash_explorer import CrashCounts, CrashExplorer, CrashFoundError
from kernelckpt.testing.fault_explorer import Fault, FaultExplorer, second_sync
from kernelckpt.testing.faults import FaultyFileOps
from kernelckpt.testing.interleaving import InterleavingFoundError, Interleavings
from kernelckpt.testing.sim_disk import SimImage
from kernelckpt.testing.sim_fs import SimFileSystem

__all__ = [
    "CrashCounts",
    "CrashExplorer",
    "CrashFoundError",
    "Fault",
    "FaultExplorer",
    "FaultyFileOps",
    "InterleavingFoundError",
    "Interleavings",
    "ManualClock",
    "SimFileSystem",
    "SimImage",
    "StorageConformance",
    "second_sync",
]
