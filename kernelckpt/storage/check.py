"""What every backend refuses before it does anything: arguments that no store could honour."""

from __future__ import annotations

from collections.abc import Sequence

from kernelckpt.abc import META_BYTES, PART_BYTES
from kernelckpt.errors import InvalidValueError

_ENTRY_BYTES = 0xFFFFFFFF


def check_name(text: str, what: str) -> None:
    """Refuse an empty id or name."""
    if not text:
        raise InvalidValueError(f"the {what} is empty", hint="give it any text", path=what)


def check_entry(entry: Sequence[bytes], meta: bytes, *, limit: int = _ENTRY_BYTES) -> None:
    """Refuse an entry when it is larger than the store takes, or its metadata when they are too large."""
    if len(meta) > META_BYTES:
        raise InvalidValueError(
            f"{len(meta)} bytes of metadata, {META_BYTES} fit", hint="move it into the entry", path="meta"
        )
    if (size := sum(map(len, entry))) > limit:
        raise InvalidValueError(
            f"an entry of {size} bytes, {limit} fit", hint="move it into a blob", path="entry"
        )


def check_part(index: int, expected: int, data: Sequence[bytes]) -> None:
    """Refuse a part of a blob that is out of order or too large."""
    if index != expected:
        raise InvalidValueError(
            f"part {index} of the blob, expected part {expected}", hint="write parts in order", path="index"
        )
    if (size := sum(map(len, data))) > PART_BYTES:
        raise InvalidValueError(
            f"a part of {size} bytes, {PART_BYTES} fit", hint="cut it into more parts", path="data"
        )


def check_range(offset: int, length: int | None) -> None:
    """Refuse a range that begins or ends before the beginning."""
    if offset < 0 or (length is not None and length < 0):
        raise InvalidValueError(
            f"bytes from {offset}, {length} of them", hint="neither can be negative", path="offset"
        )


def check_page(after: int, limit: int) -> None:
    """Refuse a page of the listing that holds nothing."""
    if after < 0 or limit < 1:
        raise InvalidValueError(
            f"{limit} entries after {after}", hint="ask for one or more, after 0 or more", path="limit"
        )
