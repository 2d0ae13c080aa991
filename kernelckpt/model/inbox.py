"""What the outside and the kernel have sent to a task and no turn has consumed yet."""

from __future__ import annotations

from collections.abc import Mapping

from kernelckpt.model.message import Message
from kernelckpt.model.record import Record
from kernelckpt.model.signal import RuntimeSignal


class InboxEntry(Record, frozen=True, gc=False):
    """One thing sent to a task: a message, a signal or a note.

    Attributes:
        message: a message from a user.
        signal: a routed signal.
        note: a line of the kernel: a refusal, a rollback, a phase.
        interrupts: whether the signal interrupts what the task is at.
    """

    message: Message | None = None
    signal: RuntimeSignal | None = None
    note: str | None = None
    interrupts: bool = False

    def __post_init__(self) -> None:
        if [self.message, self.signal, self.note].count(None) != 2:
            raise ValueError("an inbox entry holds a message, a signal or a note, and one of them only")
        if self.interrupts and self.signal is None:
            raise ValueError("only a signal interrupts")

    @property
    def line(self) -> str | None:
        """What an agent is told of it in words; None for a message."""
        if self.signal is None:
            return self.note
        return f"[{'INTERRUPT' if self.interrupts else 'SIGNAL'}] {self.signal.summary}"


def lines_of(inbox: Mapping[int, InboxEntry]) -> tuple[str, ...]:
    """What an agent is told of its inbox in words, oldest first."""
    if not inbox:
        return ()
    lines = (inbox[number].line for number in sorted(inbox))
    return tuple(line for line in lines if line is not None)


class SentKey(Record, frozen=True, gc=False):
    """The key under which something was sent: sending it again changes nothing."""

    key: str
