"""Totals of the whole kernel, and the encoded values of a task's program."""

from __future__ import annotations

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64


class KernelTotals(Record, frozen=True, gc=False):
    """What belongs to no single task.

    Attributes:
        turn: kernel turns: turns committed by all tasks over the life of the run.
        total_tokens: tokens spent by all tasks.
        cost_micros: money spent by all tasks.
        clock_ms: the working clock: wall time of the run's first start plus time worked since.
        signals: signals queued so far (numbers them).
        queue_capacity: how many signals the router queues.
        attention: the name of the router's policy in the scheduler's registry; "" for the default one.
        downtime_ms: wall time between restored checkpoints and the restores, over the life of the run.
    """

    turn: U64 = 0
    total_tokens: U64 = 0
    cost_micros: U64 = 0
    clock_ms: U64 = 0
    signals: U64 = 0
    queue_capacity: U32 = 64
    attention: str = ""
    downtime_ms: U64 = 0


class Value(Record, frozen=True, gc=False):
    """An encoded value of a program (its state or input), with the version that wrote it."""

    data: bytes
    version: U32 = 1
