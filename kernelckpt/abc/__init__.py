"""The seams: what a storage, a hook, a host of hooks and a clock must promise.

Each contract is written here once; implementations carry no docstring of their own.
"""

from kernelckpt.abc.change import Append, Change, Commit, Key, Put, Remove
from kernelckpt.abc.clock import Clock
from kernelckpt.abc.hook import Hook, RuntimeHook
from kernelckpt.abc.host import (
    CommandHost,
    KernelHost,
    PartlyRead,
    PatientHost,
    Rehearsed,
    RestoredState,
    Unread,
)
from kernelckpt.abc.storage import (
    META_BYTES,
    PART_BYTES,
    BlobInfo,
    Claim,
    EntryInfo,
    PostedMessage,
    StorageBackend,
)
from kernelckpt.abc.wrapper import StorageCall, StorageWrapper

__all__ = [
    "META_BYTES",
    "PART_BYTES",
    "Append",
    "BlobInfo",
    "Change",
    "Claim",
    "Clock",
    "CommandHost",
    "Commit",
    "EntryInfo",
    "Hook",
    "KernelHost",
    "Key",
    "PartlyRead",
    "PatientHost",
    "PostedMessage",
    "Put",
    "Rehearsed",
    "Remove",
    "RestoredState",
    "RuntimeHook",
    "StorageBackend",
    "StorageCall",
    "StorageWrapper",
    "Unread",
]
