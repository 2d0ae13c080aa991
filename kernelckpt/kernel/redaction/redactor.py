"""The kernel's way to redaction: what comes in is admitted, what is kept is searched once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import msgspec

from kernelckpt.codec.record import decode_item, encode_record
from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import DecodeError, InvalidValueError, KernelCkptError
from kernelckpt.kernel.argument import encoded_text
from kernelckpt.kernel.error_text import error_text
from kernelckpt.kernel.redaction.redaction import Redaction, marker
from kernelckpt.kernel.redaction.walk import Walk

_R = TypeVar("_R", bound=msgspec.Struct)
_NOTHING = nullcontext()


class Redactor:
    """What a kernel does with a redaction; without one, nothing.

    What users and programs hand in is *admitted*: a secret in an identity is refused while nothing is changed
    yet. What becomes state passes `record` or `item`, whoever made it: there identities are left alone.
    """

    def __init__(self, redaction: Redaction | None = None) -> None:
        """`redaction` says what is secret; None: nothing is."""
        self._redaction = redaction
        self._keep = None if redaction is None else Walk(redaction, refuses=False)
        self._admit = None if redaction is None else Walk(redaction, refuses=True)

    @property
    def acts(self) -> bool:
        """Whether anything is secret."""
        return self._keep is not None

    def text(self, text: str) -> str:
        """A text without secrets."""
        return text if self._redaction is None else self._redaction.text(text)

    def record(self, record: _R) -> _R:
        """A record as it may be kept; the same object if it holds no secret."""
        return record if self._keep is None else self._keep.value(record, "")

    def items(self, kind: str, items: Sequence[bytes]) -> tuple[bytes, ...]:
        """Items of a stream as they may be kept."""
        keep = self._keep
        return tuple(items) if keep is None else tuple(_item(keep, kind, data, "") for data in items)

    def encoded(self, data: bytes, path: str) -> bytes:
        """A value in msgpack as it may be kept."""
        return data if self._keep is None else self._keep.encoded(data, path)

    def admitted(self, record: _R, path: str) -> _R:
        """A record from outside as it may be kept.

        Raises:
            InvalidValueError: an identity in it holds a secret; names the path.
        """
        return record if self._admit is None else self._admit.value(record, path)

    def message(self, data: bytes, path: str) -> bytes:
        """An encoded message from outside as it may be kept; raises as `admitted` does."""
        return data if self._admit is None else _item(self._admit, "history", data, path)

    def said(self, text: Any) -> bytes:
        """An assistant message that says a text, encoded as it may be kept.

        Raises:
            InvalidValueError: it is no text, or cannot be kept exactly.
        """
        if self._admit is None:
            return encoded_text(text, "message")
        with self.errors():
            return self.message(encoded_text(text, "message"), "message")

    def refuse(self, value: Any, path: str) -> None:
        """Raise `InvalidValueError` if an identity, or one of several, holds a secret."""
        if self._admit is not None:
            self._admit.refuse(value, path)

    def value(self, codec: ValueCodec, value: Any, path: str) -> bytes:
        """The bytes of a program's or tool's value as they may be kept.

        Raises:
            InvalidValueError: it is not of its type, or not without its secrets, or cannot be kept exactly.
        """
        with self.errors():
            return self.typed(codec, codec.encode(value, path), path)

    def typed(self, codec: ValueCodec, data: bytes, path: str) -> bytes:
        """Bytes of a codec's type without secrets, checked to be of that type still; raises as `value`."""
        made = self.encoded(data, path)
        if made is data:
            return data
        try:
            codec.decode(made, path)
        except DecodeError:
            text = f"{path}: not of its type any more without the secrets in it ({self._named_in(made)})"
            hint = "keep secrets in deps, or in fields that may hold any text"
            raise InvalidValueError(text, path=path, hint=hint) from None
        return made

    def shown(self, value: Any) -> Any:
        """What listeners are shown of a value, whatever it is; plain data if it holds a secret."""
        if self._keep is None:
            return value
        try:
            plain = msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), enc_hook=_plain)
        except (TypeError, ValueError, RecursionError, OverflowError):
            plain = _repr(value)  # a stranger: all there is to be shown is its text
        made = self._keep.value(plain, "")
        return value if made is plain else made

    def errors(self) -> AbstractContextManager[None]:
        """Within it, errors of this package are raised without secrets, those of their causes included."""
        return _NOTHING if self._keep is None else self._cleaned(self._keep)

    @contextmanager
    def _cleaned(self, walk: Walk) -> Iterator[None]:
        try:
            yield
        except KernelCkptError as error:
            if not any(self._holds(error_text(each)) for each in _with_causes(error)):
                raise
            error.args = walk.value(error.args, "")
            for name, fact in vars(error).items():
                setattr(error, name, walk.value(fact, ""))
            raise error from None

    def _holds(self, text: str) -> bool:
        return self._redaction is not None and self._redaction.name_in(text) is not None

    def _named_in(self, data: bytes) -> str:
        names = () if self._redaction is None else self._redaction.names
        return ", ".join(name for name in names if marker(name).encode() in data)


def _item(walk: Walk, kind: str, data: bytes, path: str) -> bytes:
    item = decode_item(kind, data, path or kind)
    made = walk.value(item, path)
    return data if made is item else encode_record(made)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError("no plain data")
    return dump(mode="json")


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as broken:  # noqa: BLE001 - a stranger may fail at anything
        return f"a {type(value).__name__}, whose repr raised {type(broken).__name__}"
