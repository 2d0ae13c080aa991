"""What the tests of governance share: a caller, calls, and pipelines in one line."""

from msgspec.structs import replace

from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.governance import Governance
from kernelckpt.model.capability import (
    CapabilityDescriptor,
    CapabilityFilter,
    CapabilityKind,
    CapabilityManifest,
)
from kernelckpt.model.governance import GovernancePolicy, GovernedCall, PermissionAction, PermissionRule
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.process import AgentIsolation, AgentRole

CALLER = Caller(
    AgentIdentity.new("agent", "session"),
    AgentRole.CUSTOM,
    AgentIsolation.SHARED,
    CapabilityManifest(),
    CapabilityFilter(),
    "root",
)


def caller_with(*tools, kind=CapabilityKind.TOOL, chosen=None):
    """A caller that has capabilities of one kind, and a filter."""
    entries = tuple(CapabilityDescriptor(tool, kind, "") for tool in tools)
    return replace(CALLER, capabilities=CapabilityManifest(entries), filter=chosen or CapabilityFilter())


def call(tool="read", arguments=None, call_id="c1"):
    return GovernedCall(tool, call_id, arguments)


def rules(**actions):
    """Rules by pattern; `any_` stands for `*`."""
    return tuple(
        PermissionRule("*" if pattern == "any_" else pattern, PermissionAction(action))
        for pattern, action in actions.items()
    )


def governed(closures=None, **fields):
    """A pipeline with a policy of these fields."""
    return Governance(GovernancePolicy(**fields), closures)


def judge(governance, tool="read", arguments=None, *, now_ms=0, caller=CALLER):
    return governance.evaluate(call(tool, arguments), caller, now_ms)


def verdict(governance, tool="read", arguments=None, *, now_ms=0, caller=CALLER):
    return judge(governance, tool, arguments, now_ms=now_ms, caller=caller).verdict
