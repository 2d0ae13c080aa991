"""How a turn ends: values that a program returns."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Never

from kernelckpt.errors import UsageError
from kernelckpt.model.approval import Approval
from kernelckpt.model.message import Message
from kernelckpt.model.rollback import RollbackReason


class Next:
    """What becomes of the task after the turn. Return it from the program; do not await it."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Never]:
        raise UsageError(
            f"a turn's ending ({type(self).__name__}) was awaited",
            hint="return it: `return turn.join(...)`",
        )


class Again(Next):
    """Another turn, at once."""


AGAIN = Again()


class Join(Next):
    """Wait until tasks have ended."""

    __slots__ = ("children",)

    def __init__(self, children: tuple[str, ...]) -> None:
        self.children = children


class Sleep(Next):
    """Wait for a time."""

    __slots__ = ("until_ms",)

    def __init__(self, until_ms: int) -> None:
        self.until_ms = until_ms


class WaitMessage(Next):
    """Wait for a message that this turn has not read."""


class WaitSignal(Next):
    """Wait for a signal that this turn has not read."""


class WaitExternal(Next):
    """Wait until somebody resumes the task."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Ask(Next):
    """Wait for a human's answer."""

    __slots__ = ("approval",)

    def __init__(self, approval: Approval) -> None:
        self.approval = approval


class Request(Next):
    """Have the kernel run the tool calls of an assistant message."""

    __slots__ = ("reply",)

    def __init__(self, reply: Message) -> None:
        self.reply = reply


class Rollback(Next):
    """Undo the turn, and run another."""

    __slots__ = ("reason",)

    def __init__(self, reason: RollbackReason) -> None:
        self.reason = reason


class Complete(Next):
    """The task is done."""

    __slots__ = ("output", "text")

    def __init__(self, text: str, output: bytes | None) -> None:
        self.text = text
        self.output = output


class Fail(Next):
    """The task has failed, in its program's own judgement."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text
