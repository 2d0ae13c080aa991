"""The small checked records of the file storage: one msgpack array of kind, version, fields and CRC-32."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from kernelckpt.errors import CorruptionError, UnsupportedVersionError

FILE_VERSION = 1
"""The version of the folder's layout that this package writes, and the newest it reads."""


def encode_record(kind: str, *fields: bytes | int | str | list[int]) -> bytes:
    """One record: `[kind, version, *fields, crc32 of everything before it]`; so it is in every version."""
    packer = msgpack.Packer()
    head = bytes(packer.pack_array_header(len(fields) + 3))
    head += b"".join(bytes(packer.pack(part)) for part in (kind, FILE_VERSION, *fields))
    return head + bytes(packer.pack(zlib.crc32(head)))


def decode_record(data: bytes, kind: str, types: tuple[type, ...], where: str) -> tuple[list[Any], int]:
    """The fields of the record at the start of `data`, and its length in bytes.

    Args:
        data: bytes that begin with the record.
        kind: what it must be.
        types: the types its fields must have.
        where: the file, for messages.

    Raises:
        UnsupportedVersionError: a newer version wrote it.
        CorruptionError: it is not a whole record of that kind.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1), strict_map_key=True)
    unpacker.feed(data)
    try:
        record = unpacker.unpack()
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise _damaged(where, kind) from error
    end = unpacker.tell()
    if (
        not isinstance(record, list)
        or len(record) < 3
        or record[0] != kind
        or not _is_whole(record, data[:end])
    ):
        raise _damaged(where, kind)
    _refuse_newer(record[1], where)
    fields = record[2:-1]
    if [type(field) for field in fields] != list(types):
        raise _damaged(where, kind)
    return fields, end


def _is_whole(record: list[Any], data: bytes) -> bool:
    crc = record[-1]
    return type(crc) is int and crc == zlib.crc32(data[: -len(msgspec.msgpack.encode(crc))])


def _refuse_newer(version: Any, where: str) -> None:
    """Only what is whole is asked for its version: noise may look like any."""
    if type(version) is int and version > FILE_VERSION:
        raise UnsupportedVersionError(
            f"{where}: written in version {version} of the layout; this package reads up to {FILE_VERSION}",
            hint="upgrade kernelckpt",
            found=version,
            supported=FILE_VERSION,
        )


def _damaged(where: str, kind: str) -> CorruptionError:
    return CorruptionError(
        f"{where}: damaged: no whole {kind!r} record", hint="restore this file from a backup", lost=(where,)
    )
