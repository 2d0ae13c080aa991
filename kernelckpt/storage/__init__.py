"""Where bytes live: a backend a file, and the URL table that opens them."""

from kernelckpt.storage.file import FileStorage
from kernelckpt.storage.memory import MemoryState, MemoryStorage
from kernelckpt.storage.metered import CallMeasure, CallTotals, MeteredStorage
from kernelckpt.storage.read_only import ReadOnlyStorage
from kernelckpt.storage.retrying import RetryingStorage
from kernelckpt.storage.url import open_storage

__all__ = [
    "CallMeasure",
    "CallTotals",
    "FileStorage",
    "MemoryState",
    "MemoryStorage",
    "MeteredStorage",
    "ReadOnlyStorage",
    "RetryingStorage",
    "open_storage",
]
