"""Governance as data: the policy, the verdicts it leads to, and what is kept of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeAlias

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64


class PermissionAction(StrEnum):
    """What a rule does with a call."""

    ALLOW = "allow"
    DENY = "deny"
    ASK_USER = "ask_user"


class PermissionRule(Record, frozen=True, gc=False):
    """What becomes of the calls of some tools.

    Attributes:
        tool_pattern: `*` for all, `read*` for a beginning, `*_file` for an end, else the exact name.
        action: what is done with them.
    """

    tool_pattern: str
    action: PermissionAction


class RateLimit(Record, frozen=True, gc=False):
    """How often a tool may be called: `max_calls` within `window_ms` milliseconds."""

    max_calls: U32
    window_ms: U64


class ToolRateLimit(Record, frozen=True, gc=False):
    """The rate limit of one tool."""

    tool: str
    max_calls: U32
    window_ms: U64


class Required(Record, frozen=True, gc=False, tag="required", tag_field="kind"):
    """An argument that must be given; `path` is dotted, as `target.file`."""

    tool: str
    path: str


class OneOf(Record, frozen=True, gc=False, tag="enum", tag_field="kind"):
    """A text argument that must be one of these."""

    tool: str
    path: str
    values: tuple[str, ...]


class Range(Record, frozen=True, gc=False, tag="range", tag_field="kind"):
    """A numeric argument that must lie between these bounds, both included."""

    tool: str
    path: str
    min: float | None = None
    max: float | None = None


Constraint: TypeAlias = Required | OneOf | Range


class SandboxProfile(Record, frozen=True, gc=False):
    """Which arguments a sandbox would refuse; the kernel itself sandboxes nothing.

    Attributes:
        allow_network: whether tools whose name speaks of the network may be called.
        allow_fs_read: folders whose files may be named for reading; none if empty.
        allow_fs_write: folders whose files may be named for writing; none if empty.
    """

    allow_network: bool = True
    allow_fs_read: tuple[str, ...] = ()
    allow_fs_write: tuple[str, ...] = ()


class ResourceQuota(Record, frozen=True, gc=False):
    """How much agents may take; None is without limit.

    Attributes:
        max_concurrent_subagents: children that have not ended, over the whole kernel.
        max_spawn_depth: how deep children may spawn children; a root's child has depth 1.
        memory_writes_per_window: how many memory writes in how many milliseconds.
    """

    max_concurrent_subagents: U32 | None = None
    max_spawn_depth: U32 | None = None
    memory_writes_per_window: tuple[U32, U64] | None = None


class GovernancePolicy(Record, frozen=True, gc=False):
    """What agents may do: everything about governance that is data.

    Attributes:
        default_action: what is done with a call that no rule matches.
        rules: the first that matches counts.
        vetoed_tools: names of tools that are never called.
        rate_limits: limits of single tools.
        constraints: what arguments must be like.
        default_rate_limit: the limit of tools that have none of their own; None for none.
        sandbox: what a sandbox would refuse; None does not look.
        require_capability: whether a tool must be in the manifest of the task that calls it.
        vetoes: names of closures, looked up in the scheduler's registry, each asked about every call.
        quota: how much agents may take.
    """

    default_action: PermissionAction = PermissionAction.ALLOW
    rules: tuple[PermissionRule, ...] = ()
    vetoed_tools: tuple[str, ...] = ()
    rate_limits: tuple[ToolRateLimit, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    default_rate_limit: RateLimit | None = RateLimit(60, 60_000)
    sandbox: SandboxProfile | None = None
    require_capability: bool = False
    vetoes: tuple[str, ...] = ()
    quota: ResourceQuota = ResourceQuota()


class Allow(Record, frozen=True, gc=False, tag="allow", tag_field="kind"):
    """It may be done."""


class Deny(Record, frozen=True, gc=False, tag="deny", tag_field="kind"):
    """It must not be done; `stage` is the stage that said so."""

    stage: str
    reason: str


class RateLimited(Record, frozen=True, gc=False, tag="rate_limited", tag_field="kind"):
    """It must not be done yet."""

    retry_after_ms: U64


class AskUser(Record, frozen=True, gc=False, tag="ask_user", tag_field="kind"):
    """A human must say so first."""

    reason: str


Verdict: TypeAlias = Allow | Deny | RateLimited | AskUser


class AuditVerdict(StrEnum):
    """How the audit names a verdict: anything but allow is a denial."""

    ALLOW = "allow"
    DENY = "deny"


class AuditEntry(Record, frozen=True, gc=False):
    """What governance said about one call.

    Attributes:
        tool: the tool.
        call_id: the call; "" for an effect of a program.
        verdict: whether it could be done at once.
        stage: the stage that decided, unless it was allowed.
        reason: why, unless it was allowed.
        timestamp_ms: wall time.
    """

    tool: str
    call_id: str
    verdict: AuditVerdict
    stage: str | None = None
    reason: str | None = None
    timestamp_ms: U64 = 0


class RateSlot(Record, frozen=True, gc=False):
    """One call that counts against a rate limit.

    Attributes:
        name: the tool, or `MEMORY_WRITES`.
        at_ms: wall time of the call.
    """

    name: str
    at_ms: U64


MEMORY_WRITES = "memory:write"
"""The name under which memory writes are counted."""


class GovernedCall(Record, frozen=True, gc=False):
    """A call as governance sees it.

    Attributes:
        tool: its name; `spawn` for a child.
        call_id: the id of the assistant's call; "" for others.
        arguments: plain data.
    """

    tool: str
    call_id: str = ""
    arguments: Any = None
