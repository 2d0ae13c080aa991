"""Milestones: where a task stands in its contract, and what a judgement of its phase leads to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from msgspec.structs import replace as with_fields

from kernelckpt.errors import InvalidValueError, RestoreError, UsageError
from kernelckpt.model.capability import CapabilityDescriptor
from kernelckpt.model.milestone import (
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    MilestoneProgress,
    RollbackPolicy,
    Verifier,
)
from kernelckpt.model.record import Record

NO_REASON = "the judge gave no reason"
"""What is said when a phase is not passed and nobody says why."""


class MilestoneEvaluation(Record, frozen=True):
    """What a host sees that must judge a phase.

    Attributes:
        task_id: the task that takes the phase for done.
        phase_id: the phase.
        criteria: when it is passed.
        verifier: who is to decide; None is the host.
        required_evidence: what must be shown.
        text: what the agent said.
    """

    task_id: str
    phase_id: str
    criteria: tuple[str, ...]
    verifier: Verifier | None
    required_evidence: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """A phase was passed.

    Attributes:
        phase: the phase.
        unlocked: the capabilities it makes available, marked with who mounts them and why.
        next_phase: the phase that comes now; None when the contract is fulfilled.
        tracker: the tracker that goes on from here.
    """

    phase: MilestonePhase
    unlocked: tuple[CapabilityDescriptor, ...]
    next_phase: MilestonePhase | None
    tracker: MilestoneTracker


@dataclass(frozen=True, slots=True)
class Blocked:
    """A phase was not passed.

    Attributes:
        phase: the phase; it stays the current one.
        reason: why.
        policy: what is to happen now that its attempts are used up; None while some are left.
        blocked_count: how often it was tried in vain; a rollback does not set it back.
        tracker: the tracker that goes on from here.
    """

    phase: MilestonePhase
    reason: str
    policy: RollbackPolicy | None
    blocked_count: int
    tracker: MilestoneTracker


Judged: TypeAlias = Advanced | Blocked
"""What a judgement leads to."""


@dataclass(frozen=True, slots=True)
class MilestoneTracker:
    """Where a task stands in its contract. Never changed: what happens gives another tracker.

    The contract is not part of what is kept of it; `restore` finds the place again by the phase's id.

    Attributes:
        contract: the phases; None, or one without phases, is always fulfilled.
        position: how many phases were passed.
        blocked_count: how often the current phase was tried in vain.
        text: what the agent said when it took the phase for done, while that is being judged; else None.
        output: what its program would complete with, encoded, while that is being judged.

    Raises:
        InvalidValueError: a phase has no id, or that of another one.
    """

    contract: MilestoneContract | None = None
    position: int = 0
    blocked_count: int = 0
    text: str | None = None
    output: bytes | None = None

    def __post_init__(self) -> None:
        if self.contract is not None:
            check_contract(self.contract)

    @classmethod
    def restore(
        cls, contract: MilestoneContract | None, progress: MilestoneProgress | None
    ) -> MilestoneTracker:
        """The tracker of which this was kept.

        Args:
            contract: the phases, as the run was given them.
            progress: what `progress` gave; None for a contract that nothing was kept of: its beginning.

        Raises:
            RestoreError: the contract has no such phase.
            InvalidValueError: a phase has no id, or that of another one.
        """
        if progress is None:
            return cls(contract)
        position = _position_of(contract, progress.phase_id)
        return cls(contract, position, progress.blocked_count, progress.text, progress.output)

    @property
    def current(self) -> MilestonePhase | None:
        """The phase to be passed next; None when all are passed."""
        phases = _phases_of(self.contract)
        return phases[self.position] if self.position < len(phases) else None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be passed."""
        return self.current is None

    @property
    def progress(self) -> MilestoneProgress:
        """What is kept of the tracker."""
        phase_id = None if self.current is None else self.current.id
        return MilestoneProgress(phase_id, self.blocked_count, self.text, self.output)

    def claimed(self, text: str, output: bytes | None = None) -> MilestoneTracker:
        """The tracker of a task that takes its phase for done, which is now to be judged.

        Raises:
            UsageError: no phase is left.
        """
        self._current_phase()
        return replace(self, text=text, output=output)

    def evaluation(self, task_id: str) -> MilestoneEvaluation | None:
        """What is to be judged; None while nothing is."""
        phase = self.current
        if phase is None or self.text is None:
            return None
        return MilestoneEvaluation(
            task_id, phase.id, phase.criteria, phase.verifier, phase.required_evidence, self.text
        )

    def judged(self, result: MilestoneCheckResult) -> Judged:
        """What a judgement of the current phase leads to.

        Raises:
            UsageError: it judges another phase, which the original took for the current one; or none is left.
        """
        phase = self._current_phase()
        if result.phase_id != phase.id:
            raise UsageError(
                f"phase {result.phase_id!r} was judged, but the current one is {phase.id!r}",
                hint="judge the phase that the evaluation names; one that was passed stays passed",
            )
        return self._advanced(phase) if result.passed else self._blocked(phase, result.reason or NO_REASON)

    def _current_phase(self) -> MilestonePhase:
        if self.current is None:
            hint = "ask is_complete first; a contract that is fulfilled stays so"
            raise UsageError("no phase is left to be judged", hint=hint)
        return self.current

    def _advanced(self, phase: MilestonePhase) -> Advanced:
        tracker = MilestoneTracker(self.contract, self.position + 1)
        unlocked = tuple(
            with_fields(entry, mounted_by=f"milestone:{phase.id}", mount_reason="phase_advance")
            for entry in phase.unlocks
        )
        return Advanced(phase, unlocked, tracker.current, tracker)

    def _blocked(self, phase: MilestonePhase, reason: str) -> Blocked:
        count = self.blocked_count + 1
        limit = phase.retry_policy.max_attempts if phase.retry_policy is not None else 0
        policy = phase.rollback_policy if 0 < limit <= count else None
        tracker = MilestoneTracker(self.contract, self.position, count)
        return Blocked(phase, reason, policy, count, tracker)


def check_contract(contract: MilestoneContract, path: str = "milestones") -> None:
    """Check that every phase has an id of its own: a task's place in the contract is kept by it.

    Raises:
        InvalidValueError: one has not; the path is like `milestones.phases[2].id`.
    """
    seen: set[str] = set()
    for index, phase in enumerate(contract.phases):
        if phase.id and phase.id not in seen:
            seen.add(phase.id)
            continue
        place = f"{path}.phases[{index}].id"
        fault = f"{phase.id!r} is the id of an earlier phase" if phase.id else "it is empty"
        raise InvalidValueError(f"{place}: {fault}", path=place, hint="give every phase an id of its own")


def note_of_next(phase: MilestonePhase) -> str:
    """The line that tells an agent which phase comes now."""
    criteria = f"; criteria: {'; '.join(phase.criteria)}" if phase.criteria else ""
    evidence = f"; to be shown: {'; '.join(phase.required_evidence)}" if phase.required_evidence else ""
    return f"[MILESTONE] next phase: {phase.id}{criteria}{evidence}"


def note_of_block(phase: MilestonePhase, reason: str) -> str:
    """The line that tells an agent that a phase was not passed."""
    return f"[MILESTONE] phase {phase.id} was not passed: {reason}"


def _phases_of(contract: MilestoneContract | None) -> tuple[MilestonePhase, ...]:
    return () if contract is None else contract.phases


def _position_of(contract: MilestoneContract | None, phase_id: str | None) -> int:
    phases = _phases_of(contract)
    if phase_id is None:
        return len(phases)
    for index, phase in enumerate(phases):
        if phase.id == phase_id:
            return index
    known = (
        f"its phases are {', '.join(repr(phase.id) for phase in phases)}" if phases else "it has no phases"
    )
    raise RestoreError(
        f"the stored milestone phase {phase_id!r} is not in the contract; {known}",
        missing=[f"milestone phase {phase_id!r}"],
        hint="start with the contract that the run was given; its phases keep their ids",
    )
