"""What governance says of one call, and what is to be kept of it."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.kernel.governance.stage import PERMISSION, RATE_LIMIT
from kernelckpt.model.governance import (
    Allow,
    AskUser,
    AuditEntry,
    AuditVerdict,
    Deny,
    GovernedCall,
    RateLimited,
    RateSlot,
    Verdict,
)


class Judgement(Struct, frozen=True):
    """The verdict on a call; the kernel keeps the audit and the slots.

    Attributes:
        verdict: what is to be done.
        stage: the stage that decided; None if the call is allowed.
        audit: what is kept of it.
        taken: the rate slot that the call takes, with its number.
        evicted: numbers of slots that count no more.
    """

    verdict: Verdict
    stage: str | None
    audit: AuditEntry
    taken: tuple[int, RateSlot] | None = None
    evicted: tuple[int, ...] = ()


def stage_of(verdict: Verdict, limited_by: str = RATE_LIMIT) -> str | None:
    """The stage that a verdict comes from; `limited_by` is the one that limits rates."""
    if isinstance(verdict, Deny):
        return verdict.stage
    if isinstance(verdict, AskUser):
        return PERMISSION
    return limited_by if isinstance(verdict, RateLimited) else None


def audit_entry(call: GovernedCall, verdict: Verdict, stage: str | None, now_ms: int) -> AuditEntry:
    """The audit of a call: whatever is not allowed at once is a denial."""
    if isinstance(verdict, Allow):
        return AuditEntry(call.tool, call.call_id, AuditVerdict.ALLOW, timestamp_ms=now_ms)
    if isinstance(verdict, RateLimited):
        reason = f"too often; again in {verdict.retry_after_ms} ms"
    else:
        reason = verdict.reason
    return AuditEntry(call.tool, call.call_id, AuditVerdict.DENY, stage, reason, now_ms)
