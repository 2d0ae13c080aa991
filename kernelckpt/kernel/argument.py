"""What users hand to the kernel: checked and copied before any of it can become state."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar, cast, get_args

import msgspec

from kernelckpt.codec.plain import check_plain
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import InvalidValueError
from kernelckpt.model.message import Message
from kernelckpt.model.misfit import place_and_text
from kernelckpt.model.rollback import RollbackReason

LONGEST_MS = 2**52
"""The longest time a task can be asked to wait, in ms: far beyond any use, and exact in every reader."""

_LARGEST = 2**63 - 1
_R = TypeVar("_R", bound=msgspec.Struct)


def check_text(text: Any, name: str) -> None:
    """Raise `InvalidValueError` for anything but text that can be encoded."""
    if type(text) is not str:
        raise InvalidValueError(f"{name}: a {type(text).__name__}", path=name, hint="pass text")
    check_plain(text, name)


def check_name(text: Any, name: str) -> None:
    """Raise `InvalidValueError` for anything but text that is not empty."""
    check_text(text, name)
    if not text:
        raise InvalidValueError(f"{name}: empty", path=name, hint="give it a name")


def texts(values: Any, name: str) -> tuple[str, ...]:
    """Several texts; one text alone is refused, for it would be taken apart into letters.

    Raises:
        InvalidValueError: it is not a collection of texts.
    """
    found = tuple(listed(values, name))
    for index, text in enumerate(found):
        check_text(text, f"{name}[{index}]")
    return found


def listed(values: Any, name: str) -> Iterable[Any]:
    """The values, if they are a collection.

    Raises:
        InvalidValueError: they are none, or a single text.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        message = f"{name}: a {type(values).__name__}"
        raise InvalidValueError(message, path=name, hint="pass a list")
    return values


def milliseconds(seconds: Any, name: str) -> int:
    """A length of time given in seconds.

    Raises:
        InvalidValueError: it is no number, negative, or out of range.
    """
    if type(seconds) not in {int, float} or not math.isfinite(seconds):
        message = f"{name}: a {type(seconds).__name__} that is no length of time"
        raise InvalidValueError(message, path=name, hint="pass a number of seconds")
    if not 0 <= seconds * 1000 <= LONGEST_MS:
        raise InvalidValueError(f"{name}: {seconds!r} seconds", path=name, hint="0 or more, within reason")
    return int(seconds * 1000)


def check_amount(amount: Any, name: str, used: int) -> None:
    """Raise `InvalidValueError` for anything but a whole number, 0 or more, that fits beside what is used."""
    if type(amount) is not int or amount < 0:
        given = str(amount) if type(amount) is int else f"a {type(amount).__name__}"
        raise InvalidValueError(f"{name}: {given}", path=name, hint="a whole number, 0 or more")
    if used + amount > _LARGEST:
        raise InvalidValueError(f"{name}: {amount} more do not fit", path=name, hint="check the unit")


def kept(record: Any, kind: type[_R], name: str) -> _R:
    """A copy of a record as it would be restored, which shares nothing with its maker.

    Raises:
        InvalidValueError: it is of another type, or a field holds what cannot be kept; names the path.
    """
    return _decoded(_encoded(record, kind, name), kind, name)


def kept_reason(reason: Any) -> RollbackReason:
    """A copy of the reason of a rollback.

    Raises:
        InvalidValueError: it is none, or holds what cannot be kept.
    """
    if not isinstance(reason, get_args(RollbackReason)):
        names = ", ".join(kind.__name__ for kind in get_args(RollbackReason))
        message = f"reason: a {type(reason).__name__}"
        raise InvalidValueError(message, path="reason", hint=f"pass one of {names}")
    return cast("RollbackReason", kept(reason, type(reason), "reason"))


def encoded_message(message: Any, name: str = "message") -> bytes:
    """The bytes of a message to be kept.

    Raises:
        InvalidValueError: it is no message, or holds what cannot be kept exactly.
    """
    data = _encoded(message, Message, name)
    _decoded(data, Message, name)
    for index, call in enumerate(message.tool_calls):
        check_plain(call.arguments, f"{name}.tool_calls[{index}].arguments")
    return data


def encoded_text(text: Any, name: str = "message") -> bytes:
    """The bytes of an assistant message that says a text.

    Raises:
        InvalidValueError: it is no text, or cannot be kept exactly.
    """
    message = Message.assistant(text)
    return encode_record(message, name) if type(text) is str else encoded_message(message, name)


def checked_message(message: Any, name: str) -> Message:
    """A message that shares nothing with its maker and can be kept exactly.

    Raises:
        InvalidValueError: it is no message, or holds what cannot be kept.
    """
    return _decoded(encoded_message(message, name), Message, name)


def _encoded(record: Any, kind: type[_R], name: str) -> bytes:
    if not isinstance(record, kind):
        message = f"{name}: a {type(record).__name__}"
        raise InvalidValueError(message, path=name, hint=f"pass a {kind.__name__}")
    return encode_record(record, name)


def _decoded(data: bytes, kind: type[_R], name: str) -> _R:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.ValidationError as error:
        inner, text = place_and_text(error)
        hint, place = f"see the fields of {kind.__name__}", name + inner
        raise InvalidValueError(f"{place}: {text}", path=place, hint=hint) from error.__cause__
    except (msgspec.DecodeError, RecursionError) as error:
        hint = f"see the fields of {kind.__name__}"
        raise InvalidValueError(f"{name}: {error}", path=name, hint=hint) from error
