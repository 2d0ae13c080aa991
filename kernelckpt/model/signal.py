"""Signals from outside, before they are routed."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any
from uuid import uuid4

from msgspec import field

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U64


class SignalSource(StrEnum):
    """Where a signal comes from."""

    CRON = "cron"
    GATEWAY = "gateway"
    HEARTBEAT = "heartbeat"
    CUSTOM = "custom"


class SignalType(StrEnum):
    """What a signal is."""

    EVENT = "event"
    JOB = "job"
    ALERT = "alert"


class Urgency(StrEnum):
    """How urgent a signal is; `rank` orders it."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return _RANKS[self]


_RANKS = {urgency: rank for rank, urgency in enumerate(Urgency)}


class Disposition(StrEnum):
    """What the router decided about a signal."""

    IGNORE = "ignore"
    OBSERVE = "observe"
    QUEUE = "queue"
    RUN = "run"
    INTERRUPT = "interrupt"
    INTERRUPT_NOW = "interrupt_now"
    DROPPED = "dropped"


class RunPriority(IntEnum):
    """The priority that a signal gives an idle kernel."""

    HIGH = 100
    CRITICAL = 255


class RuntimeSignal(Record, frozen=True, gc=False):
    """Something that happened outside.

    Attributes:
        source: where it comes from.
        signal_type: what it is.
        urgency: how urgent it is.
        summary: one line for the agent.
        payload: plain data.
        dedupe_key: signals of one key are accepted once, until the router's memory is cleared.
        timestamp_ms: when it happened; 0 when unknown.
        id: a UUID.
    """

    source: SignalSource
    signal_type: SignalType
    urgency: Urgency
    summary: str
    payload: Any = None
    dedupe_key: str | None = None
    timestamp_ms: U64 = 0
    id: str = field(default_factory=lambda: str(uuid4()))


class QueuedSignal(Record, frozen=True, gc=False):
    """A signal that waits in the router's queue, and the task it is for (None: whoever may take it)."""

    signal: RuntimeSignal
    task_id: str | None = None
