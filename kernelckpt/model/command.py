"""What another process asks of a kernel through the run's inbox, and what came of it."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import UNSET

from kernelckpt.model.message import Message
from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U64
from kernelckpt.model.signal import RuntimeSignal


class Approve(Record, frozen=True, gc=False, tag="approve", tag_field="type"):
    """Say yes to questions of a task, as `kernel.approve`; with an outcome, a call is done and gave this."""

    task_id: str
    keys: tuple[str, ...]
    by: str | None = None
    outcome: Any = UNSET


class Deny(Record, frozen=True, gc=False, tag="deny", tag_field="type"):
    """Say no to questions of a task, or to all of them if none is named, as `kernel.deny`."""

    task_id: str
    keys: tuple[str, ...] = ()
    reason: str = ""


class SendMessage(Record, frozen=True, gc=False, tag="send", tag_field="type"):
    """Put a message into a task's inbox, as `kernel.send`; one of the same `key` is taken once."""

    task_id: str
    message: Message
    key: str | None = None


class SendSignal(Record, frozen=True, gc=False, tag="signal", tag_field="type"):
    """Route a signal to a task, or to whoever may take it, as `kernel.signal`."""

    signal: RuntimeSignal
    task_id: str | None = None


class Cancel(Record, frozen=True, gc=False, tag="cancel", tag_field="type"):
    """End a task and its descendants, as `kernel.cancel`."""

    task_id: str
    reason: str = ""


Command: TypeAlias = Approve | Deny | SendMessage | SendSignal | Cancel


class PostedCommand(Record, frozen=True, gc=False):
    """A command as it lies in the inbox.

    Attributes:
        id: its own; by this it is known when it is found again.
        command: what is asked.
        posted_at_ms: wall time of whoever posted it, for people.
        wants_reply: whether somebody waits to be told what came of it.
    """

    id: str
    command: Command
    posted_at_ms: U64 = 0
    wants_reply: bool = False


class CommandOutcome(Record, frozen=True, gc=False):
    """What came of a command; in the state for as long as the command may still lie in the inbox.

    Attributes:
        id: the command's.
        applied: whether it was done; else nothing was changed.
        text: what was decided about a signal, or that there was nothing to do; or why it was not done.
        hint: what whoever posted it can do.
        error: the name of the error that calling the kernel itself would have raised; "" for none.
    """

    id: str
    applied: bool = True
    text: str = ""
    hint: str = ""
    error: str = ""
