"""Why a task ended."""

from __future__ import annotations

from enum import StrEnum


class TerminationReason(StrEnum):
    """The seven ways a task can end; the value is the label on the wire."""

    COMPLETED = "completed"
    MAX_TURNS = "max_turns"
    TOKEN_BUDGET = "token_budget"  # noqa: S105 - a label, not a secret
    TIMEOUT = "timeout"
    USER_ABORT = "user_abort"
    ERROR = "error"
    MILESTONE_EXCEEDED = "milestone_exceeded"


OUT_OF_BUDGET = frozenset(
    {TerminationReason.MAX_TURNS, TerminationReason.TOKEN_BUDGET, TerminationReason.TIMEOUT}
)
"""Endings after which a task can be given more, and goes on."""
