"""Quotas: how many children may run, how deep they may spawn, how often memory may be written."""

from __future__ import annotations

from kernelckpt.kernel.governance.rate_limit import Window
from kernelckpt.kernel.governance.stage import QUOTA
from kernelckpt.model.governance import Deny, ResourceQuota

SPAWN = "spawn"
"""The tool name under which a spawn is judged."""


def spawn_refusal(quota: ResourceQuota, *, running_children: int, depth: int) -> Deny | None:
    """The denial of one more child, or None.

    Args:
        quota: the limits.
        running_children: children of the whole kernel that have not ended.
        depth: the true depth of the new child; that of a root's child is 1. (The original takes every
            child to be of depth 1.)
    """
    most, deepest = quota.max_concurrent_subagents, quota.max_spawn_depth
    if most is not None and running_children >= most:
        return Deny(QUOTA, f"{running_children} children run, {most} may")
    if deepest is not None and depth > deepest:
        return Deny(QUOTA, f"the child would be at depth {depth}, {deepest} is the deepest allowed")
    return None


def memory_window(quota: ResourceQuota) -> Window | None:
    """How often memory may be written; unlike a call, a write exactly as old as the window counts no more."""
    if quota.memory_writes_per_window is None:
        return None
    max_writes, length_ms = quota.memory_writes_per_window
    return Window(max_writes, length_ms, is_inclusive=False)
