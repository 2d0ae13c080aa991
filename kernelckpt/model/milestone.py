"""The phases a run must pass, and what becomes of it when it does not."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import field

from kernelckpt.model.capability import CapabilityDescriptor
from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class MachineCheck(Record, frozen=True, gc=False, tag="machine_check", tag_field="kind"):
    """A program decides."""


class HarnessEval(Record, frozen=True, gc=False, tag="harness_eval", tag_field="kind"):
    """The host decides."""


class LlmJudge(Record, frozen=True, gc=False, tag="llm_judge", tag_field="kind"):
    """A model decides."""


class HumanApproval(Record, frozen=True, gc=False, tag="human_approval", tag_field="kind"):
    """A human decides."""


class ExternalCommand(Record, frozen=True, gc=False, tag="external_command", tag_field="kind"):
    """A command's exit decides."""

    cmd: str


Verifier: TypeAlias = MachineCheck | HarnessEval | LlmJudge | HumanApproval | ExternalCommand


class UnlockPolicy(StrEnum):
    """When a phase's capabilities become available."""

    IMMEDIATE = "immediate"
    DEFERRED = "deferred"


class RollbackPolicy(StrEnum):
    """What happens when a phase's retries are used up."""

    TERMINATE = "terminate"
    ROLLBACK = "rollback"
    CONTINUE = "continue"


class RetryPolicy(Record, frozen=True, gc=False):
    """How often a phase may be tried; 0 is without limit."""

    max_attempts: U32


class MilestonePhase(Record, frozen=True, gc=False):
    """One phase.

    Attributes:
        id: its name.
        criteria: when it is passed.
        unlocks: capabilities that passing it makes available.
        verifier: who decides; None is the host.
        required_evidence: what must be shown.
        unlock_policy: when the unlocks become available.
        rollback_policy: what happens when its retries are used up.
        retry_policy: how often it may be tried; None is without limit.
    """

    id: str
    criteria: tuple[str, ...] = field(default_factory=lambda: ())
    unlocks: tuple[CapabilityDescriptor, ...] = field(default_factory=lambda: ())
    verifier: Verifier | None = None
    required_evidence: tuple[str, ...] = ()
    unlock_policy: UnlockPolicy = field(default_factory=lambda: UnlockPolicy.IMMEDIATE)
    rollback_policy: RollbackPolicy = field(default_factory=lambda: RollbackPolicy.TERMINATE)
    retry_policy: RetryPolicy | None = None


class MilestoneContract(Record, frozen=True, gc=False):
    """The phases of a run, in order."""

    phases: tuple[MilestonePhase, ...]


class MilestoneCheckResult(Record, frozen=True, gc=False):
    """Whether a phase was passed, and why not."""

    phase_id: str
    passed: bool
    reason: str | None = None

    @classmethod
    def pass_(cls, phase_id: str) -> MilestoneCheckResult:
        """The phase was passed."""
        return cls(phase_id, passed=True)

    @classmethod
    def fail(cls, phase_id: str, reason: str) -> MilestoneCheckResult:
        """The phase was not passed."""
        return cls(phase_id, passed=False, reason=reason)


class MilestoneProgress(Record, frozen=True, gc=False):
    """Where a run stands in its contract: what is kept of the tracker.

    Attributes:
        phase_id: the phase to be passed next; None when all are passed.
        blocked_count: how often it was tried in vain.
        text: what the agent said when it took the phase for done, while that is being judged; else None.
        output: what its program would complete with, encoded, while that is being judged.
    """

    phase_id: str | None
    blocked_count: U32 = 0
    text: str | None = None
    output: bytes | None = None
