"""What the outside has sent to a task and no turn has consumed yet."""

from __future__ import annotations

from kernelckpt.model.message import Message
from kernelckpt.model.record import Record
from kernelckpt.model.signal import RuntimeSignal


class InboxEntry(Record, frozen=True):
    """One thing sent to a task: a message or a signal.

    Attributes:
        message: a message from a user.
        signal: a routed signal.
    """

    message: Message | None = None
    signal: RuntimeSignal | None = None

    def __post_init__(self) -> None:
        if (self.message is None) == (self.signal is None):
            raise ValueError("an inbox entry holds a message or a signal, and not both")


class SentKey(Record, frozen=True):
    """The key under which something was sent: sending it again changes nothing."""

    key: str
