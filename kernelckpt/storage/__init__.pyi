from .file import FileStorage
from .memory import MemoryState, MemoryStorage
from .metered import CallMeasure, CallTotals, MeteredStorage
from .postgres import PostgresStorage
from .read_only import ReadOnlyStorage
from .retrying import RetryingStorage
from .sqlite import SqliteStorage
from .url import open_storage

__all__ = [
    "CallMeasure",
    "CallTotals",
    "FileStorage",
    "MemoryState",
    "MemoryStorage",
    "MeteredStorage",
    "PostgresStorage",
    "ReadOnlyStorage",
    "RetryingStorage",
    "SqliteStorage",
    "open_storage",
]
