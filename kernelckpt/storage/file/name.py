"""The names of files in a storage folder; nothing that a caller gave appears in them unescaped."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from msgspec import Struct

from kernelckpt.errors import InvalidValueError
from kernelckpt.storage.text import bytes_text, text_bytes

MARKER = "kernelckpt"
RUN = "run"
HEAD = "head"
_NAME_BYTES = 240
_NUMBERED = re.compile(r"(owner)\.([1-9][0-9]{0,18})|(seg)\.([1-9][0-9]{0,18})\.([1-9][0-9]{0,18})")
_RUN_FOLDER = re.compile(r"[a-z0-9_-]*-[a-z2-7]{26}")
_INBOX = re.compile(r"inbox\.[a-z2-7]{26}")
_ESCAPE_OR_CAPITAL = re.compile(r"%[0-9A-F]{2}|[A-Z]")
_TEMPORARY = re.compile(r"tmp\.[0-9a-f]{32}")
_REMOVED = re.compile(r"removed\.[0-9a-f]{32}")


class FolderNames(Struct):
    """The names found in a run's folder, sorted into what they stand for.

    Attributes:
        owners: the epochs that have an owner file, ascending.
        segments: (epoch, number) of each segment, ascending.
        blobs: file name by blob name.
        inbox: file names of posted messages.
        temporary: files that were not, or not yet, given their name.
        foreign: names that are not of this storage; left alone.
    """

    owners: list[int]
    segments: list[tuple[int, int]]
    blobs: dict[str, str]
    inbox: list[str]
    temporary: list[str]
    foreign: list[str]


def sort_names(names: Iterable[str]) -> FolderNames:
    """Say what each name of a run's folder stands for."""
    found = FolderNames([], [], {}, [], [], [])
    for name in sorted(names):
        if numbered := _NUMBERED.fullmatch(name):
            if numbered[1]:
                found.owners.append(int(numbered[2]))
            else:
                found.segments.append((int(numbered[4]), int(numbered[5])))
        elif (blob := _blob_name(name)) is not None:
            found.blobs[blob] = name
        elif _INBOX.fullmatch(name):
            found.inbox.append(name)
        elif _TEMPORARY.fullmatch(name):
            found.temporary.append(name)
        elif name not in (RUN, HEAD):
            found.foreign.append(name)
    found.owners.sort()
    found.segments.sort()
    return found


def owner_name(epoch: int) -> str:
    """The owner file of an epoch."""
    return f"owner.{epoch}"


def segment_name(epoch: int, number: int) -> str:
    """The file of an owner's n-th segment."""
    return f"seg.{epoch}.{number}"


def segment_of(name: str) -> tuple[int, int] | None:
    """The (epoch, number) that `segment_name` was given, or None for another name."""
    found = _NUMBERED.fullmatch(name)
    return (int(found[4]), int(found[5])) if found and found[3] else None


def blob_file_name(blob: str) -> str:
    """The file of a blob.

    Raises:
        InvalidValueError: the name is empty or too long for a file system.
    """
    # Where letters are not told from capitals, two blobs must not have one file.
    name = "blob." + _ESCAPE_OR_CAPITAL.sub(_escaped, quote_from_bytes(text_bytes(blob), safe=""))
    if not blob or len(name) > _NAME_BYTES:
        raise InvalidValueError(f"{blob[:40]!r} cannot name a blob", hint="give it 1 to 70 characters")
    return name


def _escaped(found: re.Match[str]) -> str:
    return found[0] if len(found[0]) > 1 else f"%{ord(found[0]):02X}"


def inbox_name(message_id: str) -> str:
    """The file of a posted message."""
    return f"inbox.{_digest_text(message_id)}"


def temporary_name() -> str:
    """A name that nobody else has."""
    return f"tmp.{secrets.token_hex(16)}"


def removed_name() -> str:
    """A name for the folder of a run that is being deleted."""
    return f"removed.{secrets.token_hex(16)}"


@lru_cache(maxsize=1024)
def run_folder_name(run_id: str) -> str:
    """The folder of a run: readable characters of its id, and a digest that tells it from all others."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", run_id[:40].lower(), flags=re.ASCII).strip("-")
    return f"{slug or 'run'}-{_digest_text(run_id)}"


def run_id_of(folder_name: str) -> str | None:
    """The id of a run that its folder's name tells by itself; None where that holds only a part of it."""
    slug = folder_name.rpartition("-")[0]
    return slug if run_folder_name(slug) == folder_name else None


def is_run_folder(name: str) -> bool:
    """Whether `run_folder_name` could have made this name."""
    return _RUN_FOLDER.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    """Whether `temporary_name` could have made this name."""
    return _TEMPORARY.fullmatch(name) is not None


def is_removed(name: str) -> bool:
    """Whether `removed_name` could have made this name."""
    return _REMOVED.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _blob_name(name: str) -> str | None:
    if not name.startswith("blob."):
        return None
    try:
        blob = bytes_text(unquote_to_bytes(name[5:]))
        return blob if blob_file_name(blob) == name else None
    except (UnicodeError, InvalidValueError):
        return None


def _digest_text(text: str) -> str:
    digest = hashlib.sha256(text_bytes(text)).digest()
    return base64.b32encode(digest).decode()[:26].lower()
