"""A policy as plain data, in the form that crosses the original's interface, and what a view shows of it."""

from __future__ import annotations

from typing import Any

import msgspec

from kernelckpt.errors import DecodeError
from kernelckpt.kernel.governance.policy_check import ROOT, checked_policy
from kernelckpt.model.governance import GovernancePolicy, PermissionAction
from kernelckpt.model.json_form import convert_form


class PolicySummary(msgspec.Struct, frozen=True):
    """How much a policy rules.

    Attributes:
        default_permission: what is done with a call that no rule matches.
        rule_count: its rules.
        veto_count: vetoed tools and veto closures.
        rate_limit_count: tools with a limit of their own.
        constraint_count: its constraints.
        has_sandbox_profile: whether it looks at what a sandbox would refuse.
    """

    default_permission: PermissionAction
    rule_count: int
    veto_count: int
    rate_limit_count: int
    constraint_count: int
    has_sandbox_profile: bool

    @classmethod
    def of(cls, policy: GovernancePolicy) -> PolicySummary:
        """The summary of a policy."""
        return cls(
            policy.default_action,
            len(policy.rules),
            len(set(policy.vetoed_tools)) + len(policy.vetoes),
            len(policy.rate_limits),
            len(policy.constraints),
            policy.sandbox is not None,
        )


def policy_from_dict(data: Any) -> GovernancePolicy:
    """The policy that plain data describes, read strictly.

    The original's fields are `default_action`, `rules`, `vetoed_tools`, `rate_limits` and `constraints`; the
    others of `GovernancePolicy` stand beside them. Each may be left out.

    Raises:
        DecodeError: it describes none, or has a field that is unknown; names the path.
        InvalidValueError: the policy it describes cannot be put in force; names the path.
    """
    try:
        policy = convert_form(data, GovernancePolicy, ROOT)
    except DecodeError as error:
        hint = "see the fields of GovernancePolicy"
        raise DecodeError(error.message, path=error.path, hint=hint) from error
    return checked_policy(policy)


def policy_to_dict(policy: GovernancePolicy) -> dict[str, Any]:
    """A policy as plain data that `policy_from_dict` reads, with all its fields, the original's first."""
    return {name: msgspec.to_builtins(getattr(policy, name)) for name in policy.__struct_fields__}
