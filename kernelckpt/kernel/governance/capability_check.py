"""The capability check: a tool must be among the caller's capabilities, and pass its filter."""

from __future__ import annotations

from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.stage import CAPABILITY_CHECK
from kernelckpt.model.capability import CapabilityKind
from kernelckpt.model.governance import Deny, GovernancePolicy, GovernedCall


class CapabilityCheck:
    """Denies tools that the caller has not, if the policy asks for it, and those that a filter keeps out.

    The filters are its own and those of the tasks above it: no task does through a child what it may not do.
    """

    def __init__(self, policy: GovernancePolicy) -> None:
        """The check of a policy."""
        self._is_required = policy.require_capability

    def __call__(self, call: GovernedCall, caller: Caller) -> Deny | None:
        """A denial, or None."""
        if self._is_required and not _has_tool(caller, call.tool):
            return Deny(
                CAPABILITY_CHECK, f"tool {call.tool!r} is not among the capabilities of {caller.task_id}"
            )
        if not caller.filter.allows(CapabilityKind.TOOL, call.tool):
            return Deny(CAPABILITY_CHECK, f"tool {call.tool!r} does not pass the filter of {caller.task_id}")
        if not all(outer.allows(CapabilityKind.TOOL, call.tool) for outer in caller.outer_filters):
            reason = f"tool {call.tool!r} does not pass the filter of a task above {caller.task_id}"
            return Deny(CAPABILITY_CHECK, reason)
        return None


def _has_tool(caller: Caller, tool: str) -> bool:
    return any(
        entry.id == tool and entry.kind is CapabilityKind.TOOL for entry in caller.capabilities.entries
    )
