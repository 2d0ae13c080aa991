"""The governance pipeline: a policy in force, asked about every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.capability_check import CapabilityCheck
from kernelckpt.kernel.governance.constraint import ConstraintCheck
from kernelckpt.kernel.governance.judgement import Judgement, audit_entry, stage_of
from kernelckpt.kernel.governance.permission import PermissionCheck
from kernelckpt.kernel.governance.policy_check import checked_policy
from kernelckpt.kernel.governance.policy_form import PolicySummary
from kernelckpt.kernel.governance.quota import SPAWN, memory_window, spawn_refusal
from kernelckpt.kernel.governance.rate_limit import RateOutcome, RateWindows, Window
from kernelckpt.kernel.governance.sandbox_policy import SandboxPolicy
from kernelckpt.kernel.governance.stage import QUOTA, RATE_LIMIT, Stage, reduce_verdicts
from kernelckpt.kernel.governance.veto import VetoCheck, missing_closures
from kernelckpt.model.governance import (
    MEMORY_WRITES,
    Deny,
    GovernancePolicy,
    GovernedCall,
    RateLimited,
    Verdict,
)

__all__ = ["Governance", "missing_closures"]


class Governance:
    """A policy in force.

    Every stage looks at every call, also at one that an earlier stage denies: such a call, and one that a
    human is asked about, takes a slot of its rate limit like any other. A call that is limited takes none.

    Attributes:
        policy: what is in force.
        windows: how often tools were called and memory was written of late.
    """

    def __init__(self, policy: GovernancePolicy, closures: Mapping[str, Any] | None = None) -> None:
        """Put a policy in force, with the closures that it names out of a registry.

        Raises:
            InvalidValueError: the policy contradicts itself, or part of it has no effect; names the path.
            UsageError: closures that it names are missing; all of them are named.
        """
        self.policy = checked_policy(policy)
        self._before_limits: tuple[Stage, ...] = (
            CapabilityCheck(self.policy),
            ConstraintCheck(self.policy),
            PermissionCheck(self.policy),
            VetoCheck(self.policy, closures or {}),
        )
        self._sandbox = SandboxPolicy(self.policy)
        self._windows = _windows_of(self.policy)
        default = self.policy.default_rate_limit
        self._default_window = None if default is None else Window(default.max_calls, default.window_ms)
        self.windows = RateWindows(self._window_of)

    def summary(self) -> PolicySummary:
        """How much the policy rules."""
        return PolicySummary.of(self.policy)

    def evaluate(
        self, call: GovernedCall, caller: Caller, now_ms: int, *, is_counted: bool = False
    ) -> Judgement:
        """What the policy says of a call; the caller keeps the audit and the slots.

        Args:
            call: the call.
            caller: who makes it.
            now_ms: wall time.
            is_counted: whether it has its slot already: it takes no other, and is not limited.
        """
        return self._judge(call, caller, now_ms, None, is_counted=is_counted)

    def evaluate_spawn(
        self, call: GovernedCall, caller: Caller, now_ms: int, running_children: int, depth: int
    ) -> Judgement:
        """What the policy says of a spawn: the stages as for any call, then the quota.

        Args:
            call: the spawn as a call of the tool `spawn`.
            caller: who spawns.
            now_ms: wall time.
            running_children: children of the whole kernel that have not ended.
            depth: that of the new child; a root's child has 1.
        """
        quota = self.policy.quota
        refusal = spawn_refusal(quota, running_children=running_children, depth=depth)
        return self._judge(call, caller, now_ms, refusal)

    def evaluate_memory_write(self, call_id: str, now_ms: int) -> Judgement:
        """What the quota says of a memory write; the stages are not asked.

        Args:
            call_id: what the audit names the write by.
            now_ms: wall time.
        """
        outcome = self.windows.check_and_take(MEMORY_WRITES, now_ms)
        verdict = reduce_verdicts(_limit(outcome))
        return _judgement(GovernedCall(MEMORY_WRITES, call_id), verdict, QUOTA, now_ms, outcome)

    def _judge(
        self,
        call: GovernedCall,
        caller: Caller,
        now_ms: int,
        refusal: Deny | None,
        *,
        is_counted: bool = False,
    ) -> Judgement:
        said = [stage(call, caller) for stage in self._before_limits]
        outcome = RateOutcome() if is_counted else self.windows.check_and_take(call.tool, now_ms)
        after = (*_limit(outcome), self._sandbox(call, caller), refusal)
        verdict = reduce_verdicts([verdict for verdict in (*said, *after) if verdict is not None])
        return _judgement(call, verdict, RATE_LIMIT, now_ms, outcome)

    def _window_of(self, name: str) -> Window | None:
        """The limit of a tool. Spawns have none by default: how many children there are is for the quota."""
        if name in self._windows or name == SPAWN:
            return self._windows.get(name)
        return self._default_window


def _windows_of(policy: GovernancePolicy) -> dict[str, Window | None]:
    """The limits that a policy sets for single names."""
    limits: dict[str, Window | None] = {
        limit.tool: Window(limit.max_calls, limit.window_ms) for limit in policy.rate_limits
    }
    return {**limits, MEMORY_WRITES: memory_window(policy.quota)}


def _limit(outcome: RateOutcome) -> tuple[RateLimited, ...]:
    return () if outcome.retry_after_ms is None else (RateLimited(outcome.retry_after_ms),)


def _judgement(
    call: GovernedCall, verdict: Verdict, limited_by: str, now_ms: int, outcome: RateOutcome
) -> Judgement:
    stage = stage_of(verdict, limited_by)
    audit = audit_entry(call, verdict, stage, now_ms)
    return Judgement(verdict, stage, audit, outcome.taken, outcome.evicted)
