"""Vetoes: tools that are never called, and closures that fail closed."""

import pytest
from governance_kit import CALLER, call, governed, judge, verdict

from kernelckpt.errors import UsageError
from kernelckpt.kernel.governance.governance import missing_closures
from kernelckpt.model.governance import Allow, Deny, GovernancePolicy


def vetoed_by(closure, arguments=None):
    return verdict(governed({"check": closure}, vetoes=("check",)), "rm", arguments)


def raises(_call, _caller):
    raise ValueError("no such table")


def leaves(_call, _caller):
    raise SystemExit(3)


async def waits(_call, _caller):
    return None


def test_blocked_tool():
    governance = governed(vetoed_tools=("rm",))
    assert judge(governance, "rm").stage == "veto"
    assert verdict(governance, "rmdir") == Allow()


def test_custom_closure_gives_the_reason():
    def outside_hours(call, caller):
        return f"{caller.identity.agent_id} may not call {call.tool} with {call.arguments}"

    assert vetoed_by(outside_hours, {"a": 1}) == Deny("veto", "agent may not call rm with {'a': 1}")
    assert vetoed_by(lambda _call, _caller: None) == Allow()


def test_closures_are_asked_in_the_policys_order():
    closures = {"one": lambda _call, _caller: "first", "two": lambda _call, _caller: "second"}
    assert verdict(governed(closures, vetoes=("two", "one"))).reason == "second"


@pytest.mark.parametrize(
    ("closure", "words"),
    [
        (raises, "ValueError: no such table"),
        (leaves, "SystemExit: 3"),
        (waits, "async"),
        (lambda _call: None, "TypeError"),
        (lambda _call, _caller: False, "bool"),
        (lambda _call, _caller: b"no", "bytes"),
        (lambda _call, _caller: 0, "int"),
        (lambda _call, _caller: "", "no reason"),
    ],
)
def test_a_closure_that_does_not_answer_properly_denies(closure, words):
    denied = vetoed_by(closure)
    assert denied.stage == "veto"
    assert "check" in denied.reason
    assert words in denied.reason


def test_a_reason_is_text_that_can_be_kept():
    assert vetoed_by(lambda _call, _caller: "no \ud800") == Deny("veto", "no ?")


def test_a_closure_cannot_change_the_call():
    def grab(call, _caller):
        call.arguments["path"].append("/etc")

    arguments = {"path": ["/data"]}
    assert vetoed_by(grab, arguments) == Allow()
    assert arguments == {"path": ["/data"]}


def test_all_missing_closures_are_named():
    policy = GovernancePolicy(vetoes=("hours", "known", "budget", "hours", "policy_object"))
    registry = {"known": lambda _call, _caller: None, "policy_object": object()}
    assert missing_closures(policy, registry) == ["hours", "budget", "policy_object"]
    assert missing_closures(GovernancePolicy(), {}) == []
    with pytest.raises(UsageError, match=r"'hours', 'budget', 'policy_object'") as caught:
        governed(registry, vetoes=policy.vetoes)
    assert caught.value.missing == ["hours", "budget", "policy_object"]
    assert "closures=" in caught.value.hint


def test_a_veto_repeats_for_every_call():
    asked = []

    def check(call, _caller):
        asked.append(call.call_id)
        return "no" if call.tool == "rm" else None

    governance = governed({"check": check}, vetoes=("check",))
    stages = [
        governance.evaluate(call(tool, call_id=str(index)), CALLER, 0).stage
        for index, tool in enumerate(("rm", "ls", "rm"))
    ]
    assert stages == ["veto", None, "veto"]
    assert asked == ["0", "1", "2"]
