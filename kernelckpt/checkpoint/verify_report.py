"""What a verification looked at, and what it found."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.checkpoint.finding import Finding


class VerifyReport(Struct, frozen=True, kw_only=True):
    """What verification looked at, and what it found.

    Attributes:
        run_id: the run.
        sequence: the checkpoint whose state was checked; 0 when there is none.
        checkpoints: how many checkpoints can be restored.
        states: of how many of them the state was checked.
        bases: how many bases were compared with the deltas before them.
        records: how many records the state has.
        messages: how many messages its contexts hold.
        tasks: how many tasks it has.
        live: how many of them have not ended.
        turn: kernel turns so far.
        total_tokens: tokens spent so far.
        cost_micros: money spent so far.
        bytes_read: how much was read and checked; what several states rest on, once for each of them.
        findings: what is wrong.
        notes: what is not wrong, but worth knowing.
    """

    run_id: str
    sequence: int = 0
    checkpoints: int = 0
    states: int = 0
    bases: int = 0
    records: int = 0
    messages: int = 0
    tasks: int = 0
    live: int = 0
    turn: int = 0
    total_tokens: int = 0
    cost_micros: int = 0
    bytes_read: int = 0
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings
