"""Where bytes live: a backend a file, and the URL table that opens them."""

from kernelckpt.storage.file import FileStorage
from kernelckpt.storage.memory import MemoryState, MemoryStorage
from kernelckpt.storage.url import open_storage

__all__ = ["FileStorage", "MemoryState", "MemoryStorage", "open_storage"]
