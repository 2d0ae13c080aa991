"""The pipeline as a whole: every stage looks at every call, and one verdict comes out."""

import pytest
from governance_kit import CALLER, call, caller_with, governed, judge, rules, verdict
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.kernel.governance.stage import STAGES, reduce_verdicts
from kernelckpt.model.capability import CapabilityFilter, CapabilityKind
from kernelckpt.model.governance import (
    Allow,
    AskUser,
    AuditEntry,
    AuditVerdict,
    Deny,
    OneOf,
    PermissionAction,
    RateLimit,
    RateLimited,
    Required,
    SandboxProfile,
    ToolRateLimit,
)


def test_the_stages_have_the_labels_and_the_order_of_the_original():
    assert STAGES == (
        "classifier",
        "capability_check",
        "constraint",
        "permission",
        "veto",
        "rate_limit",
        "sandbox_policy",
        "audit",
    )


# the pipeline


def test_allow_path_is_audited_once():
    judgement = governed().evaluate(call("read", {}, "call-7"), CALLER, 5)
    assert judgement.verdict == Allow()
    assert judgement.stage is None
    assert judgement.audit == AuditEntry("read", "call-7", AuditVerdict.ALLOW, timestamp_ms=5)


def test_permission_deny_names_its_stage():
    judgement = judge(governed(rules=rules(rm="deny")), "rm", now_ms=9)
    assert isinstance(judgement.verdict, Deny)
    assert judgement.stage == judgement.verdict.stage == "permission"
    reason = judgement.verdict.reason
    assert judgement.audit == AuditEntry("rm", "c1", AuditVerdict.DENY, "permission", reason, 9)


def test_veto_beats_explicit_allow():
    governance = governed(rules=rules(rm="allow"), vetoed_tools=("rm",))
    assert judge(governance, "rm").stage == "veto"


def test_veto_repeats():
    governance = governed(vetoed_tools=("rm",))
    first, second = judge(governance, "rm"), judge(governance, "rm")
    assert first.verdict == second.verdict
    assert first.stage == "veto"


def test_ask_user_survives_without_deny():
    judgement = judge(governed(rules=rules(rm="ask_user")), "rm")
    assert isinstance(judgement.verdict, AskUser)
    assert judgement.stage == "permission"
    assert judgement.audit.verdict is AuditVerdict.DENY
    assert judgement.audit.reason == judgement.verdict.reason


def test_deny_of_a_later_stage_beats_ask_user():
    governance = governed(rules=rules(rm="ask_user"), vetoed_tools=("rm",))
    assert judge(governance, "rm").stage == "veto"


def test_default_deny_blocks_all():
    governance = governed(default_action=PermissionAction.DENY)
    assert [judge(governance, tool).stage for tool in ("read", "", "spawn")] == ["permission"] * 3


def test_ask_user_beats_rate_limited_and_rate_limited_beats_allow():
    limits = (ToolRateLimit("rm", 0, 10), ToolRateLimit("ls", 0, 10))
    governance = governed(rules=rules(rm="ask_user"), rate_limits=limits)
    assert isinstance(verdict(governance, "rm"), AskUser)
    limited = judge(governance, "ls", now_ms=3)
    assert limited.verdict == RateLimited(10)
    assert limited.stage == "rate_limit"
    assert limited.audit == AuditEntry(
        "ls", "c1", AuditVerdict.DENY, "rate_limit", "too often; again in 10 ms", 3
    )


def test_the_first_denial_in_stage_order_counts():
    fields = {
        "require_capability": True,
        "constraints": (Required("fetch_file", "path"),),
        "rules": rules(any_="deny"),
        "vetoed_tools": ("fetch_file",),
        "rate_limits": (ToolRateLimit("fetch_file", 0, 10),),
        "sandbox": SandboxProfile(allow_network=False),
    }
    stages = []
    for left_out in fields:
        stages.append(judge(governed(**fields), "fetch_file").stage)
        fields = {name: value for name, value in fields.items() if name != left_out}
    assert stages == [
        "capability_check",
        "constraint",
        "permission",
        "veto",
        "sandbox_policy",
        "sandbox_policy",
    ]


@pytest.mark.parametrize("action", ["deny", "ask_user"])
def test_denied_and_gated_calls_take_a_slot_because_every_stage_runs(action):
    governance = governed(rules=rules(rm=action), default_rate_limit=RateLimit(1, 10))
    assert judge(governance, "rm").taken is not None
    assert judge(governance, "rm").taken is None


def test_every_closure_is_asked_even_when_the_call_is_denied_before():
    asked = []
    closures = {"watch": lambda call, caller: asked.append((call.tool, caller.task_id))}
    governance = governed(closures, rules=rules(any_="deny"), vetoes=("watch",))
    assert judge(governance, "rm").stage == "permission"
    assert asked == [("rm", "root")]


def test_a_call_without_an_object_of_arguments_and_without_a_name_is_judged():
    governance = governed(sandbox=SandboxProfile(), constraints=(OneOf("x", "a", ("b",)),))
    for arguments in (None, [], "text", 3, True):
        assert verdict(governance, "", arguments) == Allow()


def test_unicode_names_are_matched_exactly():
    governance = governed(rules=rules(**{"löschen*": "deny"}), vetoed_tools=("削除",))
    assert judge(governance, "löschen_alles").stage == "permission"
    assert judge(governance, "削除").stage == "veto"
    assert verdict(governance, "loschen") == Allow()


# the capability check


@pytest.mark.parametrize(
    ("caller", "stage"),
    [
        (caller_with("read"), None),
        (caller_with("write"), "capability_check"),
        (caller_with("read", kind=CapabilityKind.SKILL), "capability_check"),
        (caller_with(), "capability_check"),
    ],
)
def test_a_required_capability_must_be_there_as_a_tool(caller, stage):
    assert judge(governed(require_capability=True), "read", caller=caller).stage == stage
    assert judge(governed(), "read", caller=caller).stage is None


@pytest.mark.parametrize(
    ("chosen", "stage"),
    [
        (CapabilityFilter(), None),
        (CapabilityFilter(allowed_ids=("read",)), None),
        (CapabilityFilter(allowed_ids=("write",)), "capability_check"),
        (CapabilityFilter(allowed_kinds=(CapabilityKind.SKILL,)), "capability_check"),
    ],
)
def test_a_tool_must_pass_the_filter_of_its_caller(chosen, stage):
    assert judge(governed(), "read", caller=caller_with("read", chosen=chosen)).stage == stage


# the reducer


def test_reducer_of_nothing_allows():
    assert reduce_verdicts([]) == Allow()


def test_reducer_takes_the_first_of_the_gravest_kind():
    said = [RateLimited(1), Allow(), AskUser("a"), Deny("x", "1"), AskUser("b"), Deny("y", "2")]
    assert reduce_verdicts(said) == Deny("x", "1")
    assert reduce_verdicts(said[:3]) == AskUser("a")
    assert reduce_verdicts(said[:2]) == RateLimited(1)


def test_deny_is_monotonic():
    denied = Deny("permission", "no")
    for later in (Allow(), AskUser("sure?"), RateLimited(5)):
        assert reduce_verdicts([denied, later]) == reduce_verdicts([later, denied]) == denied


VERDICTS = st.one_of(
    st.just(Allow()),
    st.builds(AskUser, st.sampled_from("ab")),
    st.builds(RateLimited, st.integers(0, 3)),
    st.builds(Deny, st.sampled_from(STAGES), st.sampled_from("ab")),
)
GRAVITY = (Allow, RateLimited, AskUser, Deny)


@given(st.lists(VERDICTS, max_size=8), VERDICTS, st.integers(0, 8))
def test_one_verdict_more_never_lifts_what_others_said(said, more, index):
    before = reduce_verdicts(said)
    after = reduce_verdicts([*said[:index], more, *said[index:]])
    assert GRAVITY.index(type(after)) >= GRAVITY.index(type(before))
    assert after in {before, more}
