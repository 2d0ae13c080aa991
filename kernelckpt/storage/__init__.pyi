from .file.storage import FileStorage
from .memory import MemoryState, MemoryStorage
from .metered import CallMeasure, CallTotals, MeteredStorage
from .objects.storage import ObjectStorage
from .postgres.storage import PostgresStorage
from .read_only import ReadOnlyStorage
from .redis.storage import RedisStorage
from .retrying import RetryingStorage
from .sqlite.storage import SqliteStorage
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
