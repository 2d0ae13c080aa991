"""The constraint check: what the arguments of a tool must be like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kernelckpt.kernel.governance.argument_path import keys_of, value_at
from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.stage import CONSTRAINT
from kernelckpt.model.governance import (
    Constraint,
    Deny,
    GovernancePolicy,
    GovernedCall,
    OneOf,
    Range,
    Required,
)

_Check: TypeAlias = Callable[[Any], str | None]


class ConstraintCheck:
    """Denies calls whose arguments break a constraint; the first one broken counts.

    A list of values is about texts and a range about numbers: neither minds a missing value or one of
    another kind, which is for `Required` and the tool itself to refuse. True and False are no numbers.
    """

    def __init__(self, policy: GovernancePolicy) -> None:
        """The check of a policy."""
        self._checks: dict[str, list[_Check]] = {}
        for constraint in policy.constraints:
            self._checks.setdefault(constraint.tool, []).append(_check_of(constraint))

    def __call__(self, call: GovernedCall, _caller: Caller) -> Deny | None:
        """A denial, or None."""
        for check in self._checks.get(call.tool, ()):
            broken = check(call.arguments)
            if broken is not None:
                return Deny(CONSTRAINT, broken)
        return None


def _check_of(constraint: Constraint) -> _Check:
    keys = keys_of(constraint.path)

    def check(arguments: Any) -> str | None:
        text = _fault(value_at(arguments, keys), constraint)
        return None if text is None else f"argument {constraint.path!r} {text}"

    return check


def _fault(value: Any, constraint: Constraint) -> str | None:
    match constraint:
        case Required():
            return "is required" if value is None else None
        case OneOf():
            return _unlisted(value, constraint)
        case Range():
            return _out_of_range(value, constraint)


def _unlisted(value: Any, constraint: OneOf) -> str | None:
    if not isinstance(value, str) or value in constraint.values:
        return None
    return f"must be one of {', '.join(constraint.values) or 'nothing'}"


def _out_of_range(value: Any, constraint: Range) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # written so that a NaN, which is on neither side of a bound, is denied
    if constraint.min is not None and not value >= constraint.min:
        return f"must be {constraint.min} or more"
    if constraint.max is not None and not value <= constraint.max:
        return f"must be {constraint.max} or less"
    return None
