"""Values of a program (state, input, output) and of tools: declared types to plain msgpack and back."""

from __future__ import annotations

from typing import Any

import msgspec

from kernelckpt.codec.envelope import MAX_PAYLOAD_BYTES
from kernelckpt.codec.exact import check_exact
from kernelckpt.codec.plain import check_plain
from kernelckpt.codec.typed import decode_typed, refuse_ext
from kernelckpt.errors import DecodeError, InvalidValueError
from kernelckpt.model.misfit import text_without_value


def built(kind: type, value: Any) -> Any:
    """Make a pydantic model of plain data; for types that msgspec does not know."""
    validate = getattr(kind, "model_validate", None)
    return value if validate is None else validate(value)


def dumped(value: Any) -> Any:
    """The plain data of a pydantic model; for values that msgspec does not know.

    Raises:
        TypeError: it is none.
    """
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__name__} cannot be kept")
    return dump(mode="json")


_encoder = msgspec.msgpack.Encoder(enc_hook=dumped)


LARGEST_BYTES = MAX_PAYLOAD_BYTES // 2
"""What a call is given or has returned must not be larger: what no record can hold would halt the kernel."""


def check_size(data: bytes, path: str) -> None:
    """Raise `InvalidValueError` for the bytes of a value that is too large to be kept."""
    if len(data) > LARGEST_BYTES:
        message = f"{path}: {len(data)} bytes, more than {LARGEST_BYTES}"
        raise InvalidValueError(message, path=path, hint="put it elsewhere, and keep where it is")


class ValueCodec:
    """Encodes and decodes values of one type, exactly or not at all."""

    def __init__(self, type_: Any = None) -> None:
        """Without a type: plain data. With one: a msgspec struct, dataclass, pydantic model, or the like."""
        self.type = type_
        self._pydantic = isinstance(type_, type) and hasattr(type_, "model_validate")
        plain = type_ is None or self._pydantic
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
            Any if plain else type_, ext_hook=refuse_ext, dec_hook=built
        )

    def encode(self, value: Any, path: str) -> bytes:
        """The bytes of a value, checked to give back the same value, to the type of every part.

        Raises:
            InvalidValueError: it is not of the declared type, or cannot be kept exactly.
        """
        if self._is_foreign(value):
            message = f"{path}: a {type(value).__name__}, but the declared type is {self.type.__name__}"
            raise InvalidValueError(message, path=path, hint="pass a value of the declared type")
        if self.type is None:
            check_plain(value, path)
        try:
            data = _encoder.encode(self._dumped(value, path))
            if self.type is not None:
                check_exact(value, self.decode(data, path), path)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            text = text_without_value(error)
            cause = error if text == str(error) else None
            raise InvalidValueError(f"{path}: {text}", path=path, hint="keep plain data in it") from cause
        except DecodeError as error:
            hint = "declare a type whose values can be read back"
            raise InvalidValueError(error.message, path=error.path, hint=hint) from error.__cause__
        return data

    def _is_foreign(self, value: Any) -> bool:
        return self.type is not None and isinstance(self.type, type) and not isinstance(value, self.type)

    def _dumped(self, value: Any, path: str) -> Any:
        if not self._pydantic:
            return value
        plain = value.model_dump(mode="json")
        check_plain(plain, path)
        return plain

    def decode(self, data: bytes, path: str) -> Any:
        """A fresh value.

        Raises:
            DecodeError: the bytes do not hold a value of the type.
        """
        return decode_typed(self._decoded, data, path, is_ours=False)

    def _decoded(self, data: bytes) -> Any:
        value = self._decoder.decode(data)
        return self.type.model_validate(value) if self._pydantic else value
