from .file import FileStorage
from .memory import MemoryState, MemoryStorage
from .metered import CallMeasure, CallTotals, MeteredStorage
from .objects import ObjectStorage
from .postgres import PostgresStorage
from .read_only import ReadOnlyStorage
from .redis import RedisStorage
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
    "ObjectStorage",
    "PostgresStorage",
    "ReadOnlyStorage",
    "RedisStorage",
    "RetryingStorage",
    "SqliteStorage",
    "open_storage",
]
