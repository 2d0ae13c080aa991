"""What authors of backends and agents test with: the conformance suite, clocks, faults, simulation."""

from kernelckpt.testing.clock import ManualClock
from kernelckpt.testing.conformance import StorageConformance
from kernelckpt.testing.crash_explorer import CrashCounts, CrashExplorer, CrashFoundError
from kernelckpt.testing.fault_explorer import Fault, FaultExplorer, second_sync
from kernelckpt.testing.faults import FaultyFileOps
from kernelckpt.testing.flaky_file_ops import FileFaults, FlakyFileOps
from kernelckpt.testing.flaky_storage import FlakyStorage, StorageFaults
from kernelckpt.testing.interleaving import InterleavingFoundError, Interleavings
from kernelckpt.testing.sim_clock import SimClock
from kernelckpt.testing.sim_disk import SimImage
from kernelckpt.testing.sim_fs import SimFileSystem
from kernelckpt.testing.sim_loop import SimDeadlockError, SimLoop
from kernelckpt.testing.sim_process import SimKilledError, SimProcess

__all__ = [
    "CrashCounts",
    "CrashExplorer",
    "CrashFoundError",
    "Fault",
    "FaultExplorer",
    "FaultyFileOps",
    "FileFaults",
    "FlakyFileOps",
    "FlakyStorage",
    "InterleavingFoundError",
    "Interleavings",
    "ManualClock",
    "SimClock",
    "SimDeadlockError",
    "SimFileSystem",
    "SimImage",
    "SimKilledError",
    "SimLoop",
    "SimProcess",
    "StorageConformance",
    "StorageFaults",
    "second_sync",
]
