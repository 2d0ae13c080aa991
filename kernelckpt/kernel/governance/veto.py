"""The veto check: tools that are never called, and closures that may object to any call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeAlias

from msgspec.structs import replace

from kernelckpt.errors import UsageError
from kernelckpt.kernel.error_text import error_text
from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.stage import VETO
from kernelckpt.model.governance import Deny, GovernancePolicy, GovernedCall

Closure: TypeAlias = Callable[[GovernedCall, Caller], str | None]
"""Looks at a call and its caller: a reason against it, or None.

It must be quick and must not be async. The call is a copy: changing it changes nothing. One that raises, or
that returns anything else, denies the call.
"""


def missing_closures(policy: GovernancePolicy, registry: Mapping[str, Any]) -> list[str]:
    """The vetoes of a policy that the registry has no function for, in order."""
    names = dict.fromkeys(policy.vetoes)
    return [name for name in names if not callable(registry.get(name))]


class VetoCheck:
    """Denies the policy's vetoed tools, and what its closures object to; the first objection counts."""

    def __init__(self, policy: GovernancePolicy, registry: Mapping[str, Any]) -> None:
        """The check of a policy, with its closures from a registry.

        Raises:
            UsageError: the registry lacks some of them; all of these are named in `missing`.
        """
        missing = missing_closures(policy, registry)
        if missing:
            names = ", ".join(repr(name) for name in missing)
            hint = "pass closures={name: function(call, caller)} to the scheduler"
            raise UsageError(f"the policy's veto closures {names} are missing", hint=hint, missing=missing)
        self._blocked = frozenset(policy.vetoed_tools)
        self._closures: list[tuple[str, Closure]] = [(name, registry[name]) for name in policy.vetoes]

    def __call__(self, call: GovernedCall, caller: Caller) -> Deny | None:
        """A denial, or None."""
        if call.tool in self._blocked:
            return Deny(VETO, f"tool {call.tool!r} is vetoed")
        for name, closure in self._closures:
            reason = _reason(name, closure, call, caller)
            if reason is not None:
                return Deny(VETO, reason)
        return None


def _reason(name: str, closure: Closure, call: GovernedCall, caller: Caller) -> str | None:
    try:
        answer: Any = closure(replace(call, arguments=deepcopy(call.arguments)), caller)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a check that cannot be made must not let a call pass
        return f"veto {name!r} failed: {error_text(error)}"
    if answer is None:
        return None
    if isinstance(answer, str):
        # what is kept must be text that can be encoded
        text = answer.encode("utf-8", "replace").decode()
        return text or f"veto {name!r} objects, and gives no reason"
    if inspect.iscoroutine(answer):
        answer.close()
        return f"veto {name!r} is async; it must answer at once"
    return f"veto {name!r} returned a {type(answer).__name__}; it must return a reason or None"
