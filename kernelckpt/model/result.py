"""How a task ended, in full."""

from __future__ import annotations

from typing import Any

from kernelckpt.model.message import Message
from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64
from kernelckpt.model.termination import TerminationReason


class LoopResult(Record, frozen=True, gc=False):
    """The result of a task.

    Attributes:
        termination: why it ended.
        final_message: the last thing it said, if it said something.
        turns_used: turns committed.
        total_tokens_used: tokens spent.
        loop_continue: false stops a loop node early.
        classify_branch: the branch a classify node chose.
        tournament_winner: the winning entrant's id.
        error: what went wrong; empty when nothing did.
        output: what the program completed with, as plain data (of its `output` type from `join`).
    """

    termination: TerminationReason
    final_message: Message | None = None
    turns_used: U32 = 0
    total_tokens_used: U64 = 0
    loop_continue: bool | None = None
    classify_branch: str | None = None
    tournament_winner: str | None = None
    error: str = ""
    output: Any = None

    @property
    def text(self) -> str:
        """The final message's text, or ""."""
        return self.final_message.text if self.final_message else ""

    @property
    def ok(self) -> bool:
        """Whether the task completed."""
        return self.termination is TerminationReason.COMPLETED


class SubAgentResult(Record, frozen=True, gc=False):
    """The result of a child, with its id."""

    agent_id: str
    result: LoopResult
