"""Commands and replies as they lie in a run's inbox: typed, versioned, encrypted like the run."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from kernelckpt.codec.codec import Codec, key_of_payload
from kernelckpt.codec.record import encode_record
from kernelckpt.codec.typed import decode_typed, refuse_ext
from kernelckpt.codec.version import FORMAT
from kernelckpt.errors import DecodeError, InvalidValueError, UnsupportedVersionError
from kernelckpt.model.command import CommandOutcome, PostedCommand

INBOX_VERSION: Final = 1
"""The version of what this package posts, and the newest it reads."""

MAX_POSTED_BYTES = 8 * 1024 * 1024
"""The largest command or reply, in bytes."""

COMMAND: Final = "command"
REPLY: Final = "reply"

_AROUND_BYTES = 4096
_NAME = re.compile(rf"({COMMAND}|{REPLY})/([0-9A-Za-z-]{{1,64}})")

_R = TypeVar("_R", PostedCommand, CommandOutcome)
_frame = msgspec.msgpack.Decoder(tuple[str, int, str, int, bytes], ext_hook=refuse_ext)
_command = msgspec.msgpack.Decoder(PostedCommand, ext_hook=refuse_ext)
_reply = msgspec.msgpack.Decoder(CommandOutcome, ext_hook=refuse_ext)


def command_name(command_id: str) -> str:
    """The id of the message in the inbox that holds a command."""
    return f"{COMMAND}/{command_id}"


def reply_name(command_id: str) -> str:
    """The id of the message in the inbox that holds the reply to a command."""
    return f"{REPLY}/{command_id}"


def parse_name(message_id: str) -> tuple[str, str] | None:
    """`COMMAND` or `REPLY`, and the command's id; None for a message that is not of ours."""
    found = _NAME.fullmatch(message_id)
    return None if found is None else (found[1], found[2])


def encode_posted(record: PostedCommand | CommandOutcome, codec: Codec, run_id: str) -> bytes:
    """The message of a command or a reply: `[format, version, kind, encoding, payload]`.

    Encrypted, it is tied to the run and to the command's id: it cannot be posted to another run, or again
    under another id.

    Raises:
        InvalidValueError: it cannot be encoded, or is too large.
    """
    kind = COMMAND if isinstance(record, PostedCommand) else REPLY
    data = encode_record(record, kind)
    if len(data) > MAX_POSTED_BYTES:
        message = f"{kind}: {len(data):,} bytes; {MAX_POSTED_BYTES:,} fit into the inbox"
        raise InvalidValueError(message, path=kind, hint="put it where the agent can fetch it, and say where")
    encoding, payload = codec.wrapper().wrap(data, 0, _Place(run_id, kind, record.id).bound)
    return msgspec.msgpack.encode([FORMAT, INBOX_VERSION, kind, encoding, payload])


def decode_command(data: bytes, codec: Codec, run_id: str, command_id: str) -> PostedCommand:
    """The command that was posted under this id.

    Raises:
        DecodeError: it is no command, or says another id.
        UnsupportedVersionError: a newer version posted it.
        CorruptionError: it was not encrypted for this run and id.
        EncryptionError: it is not encrypted with a key at hand, or should be.
    """
    return _checked(_command.decode, _payload(data, codec, _Place(run_id, COMMAND, command_id)), command_id)


def decode_reply(data: bytes, codec: Codec, run_id: str, command_id: str) -> CommandOutcome:
    """The reply to the command of this id; the errors are those of `decode_command`."""
    return _checked(_reply.decode, _payload(data, codec, _Place(run_id, REPLY, command_id)), command_id)


class _Place(NamedTuple):
    """Where something is posted."""

    run_id: str
    kind: str
    command_id: str

    @property
    def bound(self) -> bytes:
        """What its encryption is tied to."""
        return msgspec.msgpack.encode(("inbox", *self))


def _checked(decode: Callable[[bytes], _R], payload: bytes, command_id: str) -> _R:
    record = decode_typed(decode, payload, command_id)
    if record.id != command_id:
        raise DecodeError(f"{command_id}: it says that it is {reprlib.repr(record.id)}", path=command_id)
    return record


def _payload(data: bytes, codec: Codec, place: _Place) -> bytes:
    where = f"{place.kind} {place.command_id}"
    if len(data) > MAX_POSTED_BYTES + _AROUND_BYTES:
        raise DecodeError(f"{where}: {len(data):,} bytes are too large", path=where)
    encoding, payload = _unframed(data, place.kind, where)
    key_id = key_of_payload(encoding, payload, where)
    return codec.unwrap(encoding, payload, key_id, offset=0, place=place.bound, where=where)


def _unframed(data: bytes, kind: str, where: str) -> tuple[int, bytes]:
    _refuse_newer(data, where)
    name, version, found, encoding, payload = decode_typed(_frame.decode, data, where)
    if (name, version, found) != (FORMAT, INBOX_VERSION, kind) or encoding < 0:
        raise DecodeError(f"{where}: not a {kind} of kernelckpt", path=where)
    return encoding, payload


def _refuse_newer(data: bytes, where: str) -> None:
    """A later version may have another form behind its first two elements."""
    parts: Any = decode_typed(msgspec.msgpack.Decoder(list[Any], ext_hook=refuse_ext).decode, data, where)
    version = parts[1] if len(parts) > 1 and parts[0] == FORMAT else INBOX_VERSION
    if type(version) is int and version > INBOX_VERSION:
        raise UnsupportedVersionError(
            f"{where}: posted in version {version}, this package reads up to {INBOX_VERSION}",
            hint="upgrade kernelckpt where the kernel runs",
            found=version,
            supported=INBOX_VERSION,
        )
