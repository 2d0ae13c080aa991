"""The gate: governance is asked before every call, effect and spawn, and what it says is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kernelckpt.abc import Clock
from kernelckpt.codec.record import AUDIT, encode_record, unshared
from kernelckpt.errors import GovernanceDenied, GovernanceError, RateLimitedError
from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.governance import Governance
from kernelckpt.kernel.governance.judgement import Judgement
from kernelckpt.kernel.governance.quota import SPAWN
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.capability import CapabilityFilter, CapabilityManifest
from kernelckpt.model.governance import Allow, Deny, GovernedCall, RateLimited, Verdict
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.process import AgentIsolation, AgentRole
from kernelckpt.model.tcb import Tcb


class Gate:
    """Asks governance. Without a policy everything may be done."""

    def __init__(self, state: KernelState, clock: Clock, run_id: str, live_roots: Mapping[str, None]) -> None:
        """A gate over a state; `live_roots` are the roots that have not ended."""
        self._state = state
        self._clock = clock
        self._run_id = run_id
        self._live_roots = live_roots
        self.governance: Governance | None = None

    def judge(self, row: Tcb, call: GovernedCall, *, is_counted: bool = False) -> Verdict:
        """What governance says of a call; the caller commits what is kept of it.

        One that `is_counted` against its rate limit already is judged without the limit.
        """
        if self.governance is None:
            return Allow()
        now, caller = self._clock.wall_ms(), self._caller(row)
        judgement = self.governance.evaluate(call, caller, now, is_counted=is_counted)
        return self._keep(row.id, judgement)

    def judge_spawn(self, row: Tcb, arguments: dict[str, Any], staged: int) -> Verdict:
        """What governance says of one more child; `staged` children are to come with the same turn."""
        if self.governance is None:
            return Allow()
        judgement = self.governance.evaluate_spawn(
            GovernedCall(SPAWN, "", arguments),
            self._caller(row),
            self._clock.wall_ms(),
            running_children=self._running_children() + staged,
            depth=self._depth(row) + 1,
        )
        return self._keep(row.id, judgement)

    def crowded(self, staged: int) -> bool:
        """Whether so many more children would be too many by now."""
        quota = self.governance.policy.quota.max_concurrent_subagents if self.governance else None
        return quota is not None and staged > 0 and self._running_children() + staged > quota

    def write_memory(self, row: Tcb) -> Verdict:
        """What governance says of a memory write."""
        if self.governance is None:
            return Allow()
        return self._keep(row.id, self.governance.evaluate_memory_write(row.id, self._clock.wall_ms()))

    def _keep(self, task_id: str, judgement: Judgement) -> Verdict:
        for number in judgement.evicted:
            self._state.remove(("rate", "", number))
        if judgement.taken is not None:
            number, slot = judgement.taken
            self._state.put(("rate", "", number), slot)
        self._state.append(task_id, AUDIT, [encode_record(judgement.audit)])
        return self._state.redactor.record(judgement.verdict)

    def _running_children(self) -> int:
        return self._state.table.live_count - len(self._live_roots)

    def _depth(self, row: Tcb) -> int:
        depth = 0
        while row.parent is not None:
            depth += 1
            row = self._state.row(row.parent)
        return depth

    def _outer_filters(self, row: Tcb) -> Iterator[CapabilityFilter]:
        while row.parent is not None:
            row = self._state.row(row.parent)
            spec = self._state.cell(row.id).spec
            if spec is not None:
                yield spec.capability_filter

    def _caller(self, row: Tcb) -> Caller:
        cell = self._state.cell(row.id)
        spec = cell.spec
        manifest = cell.capabilities or CapabilityManifest()
        if self.governance is not None and self.governance.policy.vetoes:
            manifest = unshared(manifest)  # closures are strangers: what they change is not the state
        outer = tuple(self._outer_filters(row))
        if spec is not None:
            own = spec.capability_filter
            return Caller(spec.identity, spec.role, spec.isolation, manifest, own, row.id, outer)
        parent = row.proc.parent_session_id if row.proc is not None else None
        identity = AgentIdentity(row.id, self._run_id, row.proc is not None, parent)
        role = row.proc.role if row.proc is not None else AgentRole.CUSTOM
        isolation = row.proc.isolation if row.proc is not None else AgentIsolation.SHARED
        return Caller(identity, role, isolation, manifest, CapabilityFilter(), row.id, outer)


def refusal_of(verdict: Verdict, name: str) -> GovernanceError | None:
    """The error that a verdict stands for; None when it is allowed, or a human is to be asked."""
    if isinstance(verdict, Deny):
        return GovernanceDenied(
            f"{name} is denied by {verdict.stage}: {verdict.reason}",
            hint="let the error through to roll the turn back, or do without",
            name=name,
            stage=verdict.stage,
            reason=verdict.reason,
        )
    if isinstance(verdict, RateLimited):
        return RateLimitedError(
            f"{name} was called too often; again in {verdict.retry_after_ms} ms",
            hint="let the error through: the turn is run again after that time",
            name=name,
            reason="it was called too often",
            retry_after_ms=verdict.retry_after_ms,
        )
    return None
