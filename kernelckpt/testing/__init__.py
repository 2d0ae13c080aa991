"""What authors of backends and agents test with: the conformance suite, a clock, faults and crashes."""

from kernelckpt.testing.clock import ManualClock
from kernelckpt.testing.conformance import StorageConformance
from kernelckpt.testing.faults import FaultyFileOps
from kernelckpt.testing.sim_disk import SimImage
from kernelckpt.testing.sim_fs import SimFileSystem

__all__ = ["FaultyFileOps", "ManualClock", "SimFileSystem", "SimImage", "StorageConformance"]
