"""The one vocabulary for what agents ask of the kernel, and for what becomes of it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from kernelckpt.kernel.governance.judgement import stage_of
from kernelckpt.model.governance import Allow, AskUser, Deny, RateLimited, Verdict
from kernelckpt.model.wait import WaitReason


class Syscall(StrEnum):
    """What an agent asks for."""

    INVOKE = "invoke"
    SPAWN = "spawn"
    PAGE_IN = "page_in"
    WRITE_MEMORY = "write_memory"
    QUERY_MEMORY = "query_memory"


class SyscallDisposition(StrEnum):
    """What becomes of it."""

    ALLOW = "allow"
    TRANSFORM = "transform"
    DENY = "deny"
    GATE = "gate"
    DEFER = "defer"
    RATE_LIMITED = "rate_limited"

    @property
    def allowed(self) -> bool:
        """Whether it is done now, be it in another form."""
        return self in {SyscallDisposition.ALLOW, SyscallDisposition.TRANSFORM}


class SyscallDecision(Struct, frozen=True):
    """What becomes of a syscall, with the facts that go with it.

    Attributes:
        disposition: what becomes of it.
        stage: the stage that decided; None if it is allowed.
        reason: why it is denied or gated.
        wait: what a gated one waits for.
        retry_after_ms: after how many milliseconds a limited one may be tried again.
    """

    disposition: SyscallDisposition
    stage: str | None = None
    reason: str | None = None
    wait: WaitReason | None = None
    retry_after_ms: int | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> SyscallDecision:
        """The decision that a verdict stands for."""
        stage = stage_of(verdict)
        match verdict:
            case Allow():
                return cls(SyscallDisposition.ALLOW)
            case Deny(reason=reason):
                return cls(SyscallDisposition.DENY, stage, reason)
            case AskUser(reason=reason):
                return cls(SyscallDisposition.GATE, stage, reason, WaitReason.approval())
            case RateLimited(retry_after_ms=after):
                return cls(SyscallDisposition.RATE_LIMITED, stage, retry_after_ms=after)
