"""The vocabulary of syscalls and of what becomes of them."""

from kernelckpt.kernel.governance.syscall import Syscall, SyscallDecision, SyscallDisposition
from kernelckpt.model.governance import Allow, AskUser, Deny, RateLimited
from kernelckpt.model.wait import WaitReason


def test_syscall_labels():
    assert [str(item) for item in Syscall] == ["invoke", "spawn", "page_in", "write_memory", "query_memory"]


def test_disposition_labels():
    labels = ["allow", "transform", "deny", "gate", "defer", "rate_limited"]
    assert [str(item) for item in SyscallDisposition] == labels


def test_only_allow_and_transform_are_allowed():
    allowed = [item for item in SyscallDisposition if item.allowed]
    assert allowed == [SyscallDisposition.ALLOW, SyscallDisposition.TRANSFORM]


def test_ask_user_becomes_a_gate_that_waits_for_approval():
    decision = SyscallDecision.of(AskUser("sure?"))
    expected = SyscallDecision(SyscallDisposition.GATE, "permission", "sure?", WaitReason.approval())
    assert decision == expected


def test_the_other_verdicts_map_one_to_one():
    assert SyscallDecision.of(Allow()) == SyscallDecision(SyscallDisposition.ALLOW)
    assert SyscallDecision.of(Deny("veto", "no")) == SyscallDecision(SyscallDisposition.DENY, "veto", "no")
    limited = SyscallDecision.of(RateLimited(5))
    assert limited == SyscallDecision(SyscallDisposition.RATE_LIMITED, "rate_limit", retry_after_ms=5)
