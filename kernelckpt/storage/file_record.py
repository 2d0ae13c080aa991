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
    """One record: `[kind, version, *fields, crc32 of everything before it]`."""
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
    _refuse_newer(record, kind, where)
    if not isinstance(record, list) or len(record) != len(types) + 3 or record[0] != kind:
        raise _damaged(where, kind)
    end = unpacker.tell()
    crc = record[-1]
    if type(crc) is not int or crc != zlib.crc32(data[: end - len(msgspec.msgpack.encode(crc))]):
        raise _damaged(where, kind)
    fields = record[2:-1]
    if any(type(field) is not wanted for field, wanted in zip(fields, types, strict=True)):
        raise _damaged(where, kind)
    return fields, end


def _refuse_newer(record: Any, kind: str, where: str) -> None:
    if not isinstance(record, list) or len(record) < 2 or record[0] != kind:
        return
    if type(record[1]) is int and record[1] > FILE_VERSION:
        raise UnsupportedVersionError(
            f"{where}: written in version {record[1]} of the layout; this package reads up to {FILE_VERSION}",
            hint="upgrade kernelckpt",
            found=record[1],
            supported=FILE_VERSION,
        )


def _damaged(where: str, kind: str) -> CorruptionError:
    return CorruptionError(
        f"{where}: damaged: no whole {kind!r} record", hint="restore this file from a backup", lost=(where,)
    )
