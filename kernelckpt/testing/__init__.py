"""What authors of backends and agents test with: the conformance suite, a clock, and faults to inject."""

from kernelckpt.testing.clock import ManualClock
from kernelckpt.testing.conformance import StorageConformance
from kernelckpt.testing.faults import FaultyFileOps

__all__ = ["FaultyFileOps", "ManualClock", "StorageConformance"]
