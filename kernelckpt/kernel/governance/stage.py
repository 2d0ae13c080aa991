"""The stages by name and order, and how what they say becomes one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.model.governance import Allow, AskUser, Deny, GovernedCall, RateLimited, Verdict

CLASSIFIER = "classifier"
CAPABILITY_CHECK = "capability_check"
CONSTRAINT = "constraint"
PERMISSION = "permission"
VETO = "veto"
RATE_LIMIT = "rate_limit"
SANDBOX_POLICY = "sandbox_policy"
AUDIT = "audit"

STAGES = (
    CLASSIFIER,
    CAPABILITY_CHECK,
    CONSTRAINT,
    PERMISSION,
    VETO,
    RATE_LIMIT,
    SANDBOX_POLICY,
    AUDIT,
)
"""The stages in order. The classifier lets everything pass and has no code; the audit keeps the verdict."""

QUOTA = "quota"
"""The label of the limits on children and memory writes, which come after the stages."""

Objection: TypeAlias = Deny | RateLimited | AskUser
"""What a stage says against a call."""

Stage: TypeAlias = Callable[[GovernedCall, Caller], Deny | AskUser | None]
"""A stage that looks at the call alone: an objection, or None to let it pass."""

_RANK: dict[type[Verdict], int] = {Deny: 0, AskUser: 1, RateLimited: 2, Allow: 3}


def reduce_verdicts(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict of many, given in stage order.

    The first denial; else the first question to a human; else the first limit reached; else it is
    allowed. Hence no further verdict can lift a denial.
    """
    return min(verdicts, key=_rank, default=Allow())


def _rank(verdict: Verdict) -> int:
    return _RANK[type(verdict)]
