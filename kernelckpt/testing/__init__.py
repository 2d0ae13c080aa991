"""What authors of backends and agents test with: the conformance suite, and faults to inject."""

from kernelckpt.testing.conformance import StorageConformance
from kernelckpt.testing.faults import FaultyFileOps

__all__ = ["FaultyFileOps", "StorageConformance"]
