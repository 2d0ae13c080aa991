"""Questions to a human, and their answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U64


class ApprovalStatus(StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


class Approval(Record, frozen=True, gc=False):
    """One question of one task.

    Attributes:
        task_id: who asks.
        key: the question's id within the task.
        prompt: what is asked.
        payload: plain data to decide upon.
        status: pending, approved or denied.
        by: who answered.
        reason: why it was denied.
        asked_at_ms: wall time of the question.
        expires_at_ms: wall time at which it counts as denied; None for never.
    """

    task_id: str
    key: str
    prompt: str = ""
    payload: Any = None
    status: ApprovalStatus = ApprovalStatus.PENDING
    by: str | None = None
    reason: str = ""
    asked_at_ms: U64 = 0
    expires_at_ms: U64 | None = None

    @property
    def approved(self) -> bool:
        """Whether somebody said yes."""
        return self.status is ApprovalStatus.APPROVED

    @property
    def pending(self) -> bool:
        """Whether nobody has answered yet."""
        return self.status is ApprovalStatus.PENDING
