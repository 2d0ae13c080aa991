"""How a run is kept: the fenced, group-committed log of keyed records, its bases and their pruning."""

from kernelckpt.log.checkpoint_info import CheckpointInfo
from kernelckpt.log.list_checkpoints import list_checkpoints
from kernelckpt.log.options import LogOptions, LogStats
from kernelckpt.log.read_run import LoadedRun, OnCorruption, read_run
from kernelckpt.log.retention import PruneReport, Retention
from kernelckpt.log.run_log import RunLog
from kernelckpt.log.state_reader import Later

__all__ = [
    "CheckpointInfo",
    "Later",
    "LoadedRun",
    "LogOptions",
    "LogStats",
    "OnCorruption",
    "PruneReport",
    "Retention",
    "RunLog",
    "list_checkpoints",
    "read_run",
]
