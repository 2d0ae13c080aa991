"""Policies: what is refused when they are put in force, and their form as data."""

import json

import pytest
from governance_kit import governed, rules

from kernelckpt.errors import DecodeError, InvalidValueError
from kernelckpt.kernel.governance.governance import Governance
from kernelckpt.kernel.governance.policy_form import PolicySummary, policy_from_dict, policy_to_dict
from kernelckpt.model.governance import (
    MEMORY_WRITES,
    GovernancePolicy,
    OneOf,
    PermissionAction,
    PermissionRule,
    Range,
    RateLimit,
    Required,
    ResourceQuota,
    SandboxProfile,
    ToolRateLimit,
)

NAN, INFINITE = float("nan"), float("inf")
FULL = GovernancePolicy(
    default_action=PermissionAction.DENY,
    rules=rules(any_="ask_user", **{"read*": "allow"}),
    vetoed_tools=("rm", "rm"),
    rate_limits=(ToolRateLimit("read", 3, 1000),),
    constraints=(Required("a", "b.c"), OneOf("a", "d", ("x", "y")), Range("a", "e", 0.5), Range("a", "f")),
    default_rate_limit=None,
    sandbox=SandboxProfile(False, ("/data",), ("/out",)),
    require_capability=True,
    vetoes=("hours",),
    quota=ResourceQuota(2, 3, (4, 5000)),
)


def deny(pattern):
    return {"rules": (PermissionRule(pattern, PermissionAction.DENY),)}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (deny(""), "governance.rules[0].tool_pattern"),
        (deny("a*b"), "governance.rules[0].tool_pattern"),
        (deny("*a*"), "governance.rules[0].tool_pattern"),
        (deny("**"), "governance.rules[0].tool_pattern"),
        ({"vetoed_tools": ("rm", "")}, "governance.vetoed_tools[1]"),
        ({"vetoed_tools": ("rm*",)}, "governance.vetoed_tools[0]"),
        ({"vetoes": ("",)}, "governance.vetoes[0]"),
        ({"rate_limits": (ToolRateLimit("", 1, 1),)}, "governance.rate_limits[0].tool"),
        ({"rate_limits": (ToolRateLimit("a", 1, 0),)}, "governance.rate_limits[0]"),
        ({"rate_limits": (ToolRateLimit("a", 1, 2**60),)}, "governance.rate_limits[0]"),
        ({"rate_limits": (ToolRateLimit("a", -1, 5),)}, "governance.rate_limits[0].max_calls"),
        (
            {"rate_limits": (ToolRateLimit("a", 1, 1), ToolRateLimit("a", 2, 2))},
            "governance.rate_limits[1].tool",
        ),
        ({"rate_limits": (ToolRateLimit(MEMORY_WRITES, 1, 1),)}, "governance.rate_limits[0].tool"),
        ({"default_rate_limit": RateLimit(1, 0)}, "governance.default_rate_limit"),
        (
            {"quota": ResourceQuota(memory_writes_per_window=(1, 0))},
            "governance.quota.memory_writes_per_window",
        ),
        ({"constraints": (Required("", "a"),)}, "governance.constraints[0].tool"),
        ({"constraints": (Required("a", ""),)}, "governance.constraints[0].path"),
        ({"constraints": (Range("a", "b", 2, 1),)}, "governance.constraints[0]"),
        ({"constraints": (Required("a", "b"), Range("a", "b", NAN))}, "governance.constraints[1].min"),
        ({"constraints": (Range("a", "b", 1, NAN),)}, "governance.constraints[0].max"),
        ({"constraints": (Range("a", "b", 1, INFINITE),)}, "governance.constraints[0].max"),
        ({"sandbox": SandboxProfile(True, ("/a", ""))}, "governance.sandbox.allow_fs_read[1]"),
        ({"sandbox": SandboxProfile(True, (), ("",))}, "governance.sandbox.allow_fs_write[0]"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(fields, path):
    with pytest.raises(InvalidValueError) as caught:
        governed(**fields)
    assert caught.value.path == path
    assert path in caught.value.message
    assert caught.value.hint


def test_only_a_policy_is_a_policy():
    with pytest.raises(InvalidValueError, match="pass a GovernancePolicy"):
        Governance({"rules": []})


def test_the_policy_in_force_shares_nothing_with_its_maker():
    vetoed = ["rm"]
    governance = Governance(GovernancePolicy(vetoed_tools=vetoed))
    vetoed.clear()
    assert governance.policy == GovernancePolicy(vetoed_tools=("rm",))


def test_bounds_that_meet_are_a_range():
    governed(constraints=(Range("a", "b", 1, 1),))


def test_summary():
    assert governed().summary() == PolicySummary(PermissionAction.ALLOW, 0, 0, 0, 0, False)
    summary = Governance(FULL, {"hours": lambda _call, _caller: None}).summary()
    assert summary == PolicySummary(
        default_permission=PermissionAction.DENY,
        rule_count=2,
        veto_count=2,
        rate_limit_count=1,
        constraint_count=4,
        has_sandbox_profile=True,
    )


def test_the_originals_form_is_read():
    data = {
        "default_action": "ask_user",
        "rules": [{"tool_pattern": "read*", "action": "allow"}],
        "vetoed_tools": ["rm"],
        "rate_limits": [{"tool": "read", "max_calls": 3, "window_ms": 1000}],
        "constraints": [
            {"kind": "required", "tool": "a", "path": "b.c"},
            {"kind": "enum", "tool": "a", "path": "d", "values": ["x"]},
            {"kind": "range", "tool": "a", "path": "e", "min": 0, "max": 1.5},
            {"kind": "range", "tool": "a", "path": "f", "max": 2},
        ],
    }
    assert policy_from_dict(data) == GovernancePolicy(
        PermissionAction.ASK_USER,
        (PermissionRule("read*", PermissionAction.ALLOW),),
        ("rm",),
        (ToolRateLimit("read", 3, 1000),),
        (
            Required("a", "b.c"),
            OneOf("a", "d", ("x",)),
            Range("a", "e", 0, 1.5),
            Range("a", "f", None, 2),
        ),
    )
    assert policy_from_dict({}) == GovernancePolicy()


@pytest.mark.parametrize("policy", [FULL, GovernancePolicy()])
def test_the_form_round_trips_through_json(policy):
    form = policy_to_dict(policy)
    assert policy_from_dict(json.loads(json.dumps(form))) == policy_from_dict(form) == policy
    assert list(form)[:5] == ["default_action", "rules", "vetoed_tools", "rate_limits", "constraints"]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"default": "deny"}, "governance.default"),
        ({"default_action": "maybe"}, "governance.default_action"),
        ({"rules": [{"tool_pattern": "a"}]}, "governance.rules[0].action"),
        ({"rules": [{"tool_pattern": "a", "action": "deny", "if": 1}]}, "governance.rules[0].if"),
        ({"rules": "a"}, "governance.rules"),
        (
            {"rate_limits": [{"tool": "a", "max_calls": True, "window_ms": 1}]},
            "governance.rate_limits[0].max_calls",
        ),
        (
            {"rate_limits": [{"tool": "a", "max_calls": 1.5, "window_ms": 1}]},
            "governance.rate_limits[0].max_calls",
        ),
        (
            {"rate_limits": [{"tool": "a", "max_calls": -1, "window_ms": 1}]},
            "governance.rate_limits[0].max_calls",
        ),
        ({"constraints": [{"kind": "regex", "tool": "a", "path": "b"}]}, "governance.constraints[0].kind"),
        ({"sandbox": {"allow_net": True}}, "governance.sandbox.allow_net"),
        ([], "governance"),
        (None, "governance"),
    ],
)
def test_data_that_is_no_policy_is_refused_with_its_place(data, path):
    with pytest.raises(DecodeError) as caught:
        policy_from_dict(data)
    assert caught.value.path == path
    assert "snapshot" not in str(caught.value)


def test_data_of_a_policy_that_cannot_be_meant_is_refused_too():
    with pytest.raises(InvalidValueError, match=r"governance.rate_limits\[0\]"):
        policy_from_dict({"rate_limits": [{"tool": "a", "max_calls": 1, "window_ms": 0}]})
