"""An assistant's reply whose tool calls are being made: it joins the history together with their results."""

from __future__ import annotations

from kernelckpt.model.context import Plan
from kernelckpt.model.message import Message
from kernelckpt.model.record import Record


class OpenRequest(Record, frozen=True, gc=False):
    """A reply that waits for the results of its calls.

    Attributes:
        reply: the assistant's message.
        plan: the goal/plan record before the turn that asked, if that turn changed it: what a rollback
            goes back to.
    """

    reply: Message
    plan: Plan | None = None
