"""Quotas on children."""

import pytest
from governance_kit import CALLER, call, governed, rules

from kernelckpt.kernel.governance.quota import spawn_refusal
from kernelckpt.model.governance import (
    Allow,
    AskUser,
    Deny,
    PermissionAction,
    ResourceQuota,
    SandboxProfile,
    ToolRateLimit,
)


def spawn(governance, *, running=0, depth=1):
    return governance.evaluate_spawn(
        call("spawn", {"goal": "look"}), CALLER, 7, running_children=running, depth=depth
    )


def test_spawn_quota_open():
    assert spawn_refusal(ResourceQuota(), running_children=10**6, depth=10**6) is None
    assert spawn(governed(), running=10**6, depth=10**6).verdict == Allow()


@pytest.mark.parametrize(
    ("most", "running", "denied"), [(2, 1, False), (2, 2, True), (2, 3, True), (0, 0, True)]
)
def test_spawn_quota_limits_running_children(most, running, denied):
    refusal = spawn_refusal(ResourceQuota(max_concurrent_subagents=most), running_children=running, depth=1)
    assert (refusal is not None) is denied
    if refusal is not None:
        assert refusal.stage == "quota"


@pytest.mark.parametrize(
    ("deepest", "depth", "denied"), [(1, 1, False), (1, 2, True), (0, 1, True), (3, 3, False)]
)
def test_spawn_quota_limits_depth(deepest, depth, denied):
    refusal = spawn_refusal(ResourceQuota(max_spawn_depth=deepest), running_children=0, depth=depth)
    assert (refusal is not None) is denied
    if refusal is not None:
        assert refusal.stage == "quota"


def test_a_spawn_over_its_quota_is_audited():
    judgement = spawn(governed(quota=ResourceQuota(max_spawn_depth=1)), depth=2)
    assert judgement.stage == judgement.audit.stage == "quota"
    assert judgement.audit.reason == judgement.verdict.reason
    assert judgement.audit.timestamp_ms == 7


def test_the_quota_is_the_last_to_deny():
    quota = ResourceQuota(max_concurrent_subagents=0)
    denied = governed(default_action=PermissionAction.DENY, quota=quota)
    assert spawn(denied).stage == "permission"
    boxed = governed(sandbox=SandboxProfile(), quota=quota)
    outside = call("spawn", {"path": "/etc"})
    judgement = boxed.evaluate_spawn(outside, CALLER, 0, running_children=0, depth=1)
    assert judgement.stage == "sandbox_policy"
    asked = governed(rules=rules(spawn="ask_user"), quota=quota)
    assert isinstance(spawn(asked).verdict, Deny)
    assert isinstance(spawn(governed(rules=rules(spawn="ask_user"))).verdict, AskUser)


def test_a_spawn_over_its_quota_takes_a_slot_like_any_denied_call():
    limits = (ToolRateLimit("spawn", 5, 10),)
    governance = governed(rate_limits=limits, quota=ResourceQuota(max_concurrent_subagents=0))
    assert spawn(governance).taken is not None


def test_the_quota_is_not_about_other_calls():
    governance = governed(quota=ResourceQuota(0, 0, (0, 1)))
    assert governance.evaluate(call("read"), CALLER, 0).verdict == Allow()
