from .agent_fakes import Answers, FakeCall, Fakes, UnansweredError
from .agent_harness import AgentHarness
from .clock import ManualClock
from .conformance import StorageConformance
from .crash_explorer import CrashCounts, CrashExplorer, CrashFoundError
from .fault_explorer import Fault, FaultExplorer, second_sync
from .faults import FaultyFileOps
from .flaky_file_ops import FileFaults, FlakyFileOps
from .flaky_storage import FlakyStorage, StorageFaults
from .interleaving import InterleavingFoundError, Interleavings
from .sim_clock import SimClock
from .sim_disk import SimImage
from .sim_fs import SimFileSystem
from .sim_loop import SimDeadlockError, SimLoop
from .sim_process import SimKilledError, SimProcess

__all__ = [
    "AgentHarness",
    "Answers",
    "CrashCounts",
    "CrashExplorer",
    "CrashFoundError",
    "FakeCall",
    "Fakes",
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
    "UnansweredError",
    "second_sync",
]
