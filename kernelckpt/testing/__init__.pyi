from .agent_fakes import Answers, FakeCall, Fakes, UnansweredError
from .agent_harness import AgentHarness
from .agent_outcome import Outcome
from .clock import ManualClock
from .conformance import StorageConformance
from .conformance_network import NetworkConformance
from .conformance_process import ProcessConformance
from .crash_everywhere import (
    CrashDifferenceError,
    CrashReport,
    NotRepeatableError,
    crash_everywhere,
    look_at_the_world,
)
from .crash_explorer import CrashCounts, CrashExplorer, CrashFoundError
from .cutting_proxy import Cut, CuttingProxy
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
    "CrashDifferenceError",
    "CrashExplorer",
    "CrashFoundError",
    "CrashReport",
    "Cut",
    "CuttingProxy",
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
    "NetworkConformance",
    "NotRepeatableError",
    "Outcome",
    "ProcessConformance",
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
    "crash_everywhere",
    "look_at_the_world",
    "second_sync",
]
