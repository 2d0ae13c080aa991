"""The permission check: ordered rules about tools by name."""

from __future__ import annotations

from collections.abc import Callable

from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.stage import PERMISSION
from kernelckpt.model.governance import AskUser, Deny, GovernancePolicy, GovernedCall, PermissionAction


class PermissionCheck:
    """Does with a call what the first matching rule says, else what the policy does by default."""

    def __init__(self, policy: GovernancePolicy) -> None:
        """The check of a policy."""
        self._rules = [(matcher(rule.tool_pattern), rule) for rule in policy.rules]
        self._default = policy.default_action

    def __call__(self, call: GovernedCall, _caller: Caller) -> Deny | AskUser | None:
        """A denial, a question to a human, or None."""
        for matches, rule in self._rules:
            if matches(call.tool):
                return _objection(rule.action, f"rule {rule.tool_pattern!r}", call.tool)
        return _objection(self._default, "the default", call.tool)


def matcher(pattern: str) -> Callable[[str], bool]:
    """The test of a pattern: `*` all, `read*` a beginning, `*_file` an end, else the exact name."""
    if pattern == "*":
        return lambda _name: True
    if pattern.endswith("*"):
        beginning = pattern[:-1]
        return lambda name: name.startswith(beginning)
    if pattern.startswith("*"):
        end = pattern[1:]
        return lambda name: name.endswith(end)
    return pattern.__eq__


def _objection(action: PermissionAction, origin: str, tool: str) -> Deny | AskUser | None:
    if action is PermissionAction.ALLOW:
        return None
    if action is PermissionAction.DENY:
        return Deny(PERMISSION, f"{origin} denies tool {tool!r}")
    return AskUser(f"{origin} has a human asked about tool {tool!r}")
