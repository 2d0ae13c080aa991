"""Permission rules: patterns, and which rule counts."""

import pytest
from governance_kit import governed, judge, rules, verdict

from kernelckpt.kernel.governance.permission import matcher
from kernelckpt.model.governance import Allow, AskUser, PermissionAction, PermissionRule


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "anything", True),
        ("*", "", True),
        ("read*", "read", True),
        ("read*", "read_file", True),
        ("read*", "unread", False),
        ("read*", "Read_file", False),
        ("*_file", "read_file", True),
        ("*_file", "_file", True),
        ("*_file", "read_files", False),
        ("read", "read", True),
        ("read", "read_file", False),
        ("read", "", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("a?", "ab", False),
        ("é*", "ete", False),
        ("ét*", "été", True),
    ],
)
def test_patterns(pattern, name, matches):
    assert matcher(pattern)(name) is matches


def test_first_matching_rule_wins():
    ordered = rules(read_secret="deny", **{"read*": "allow"}, any_="ask_user")
    governance = governed(rules=ordered)
    assert judge(governance, "read_secret").stage == "permission"
    assert verdict(governance, "read_file") == Allow()
    assert isinstance(verdict(governance, "write"), AskUser)
    assert isinstance(verdict(governed(rules=ordered[::-1]), "read_secret"), AskUser)


def test_the_default_is_for_what_no_rule_matches():
    governance = governed(default_action=PermissionAction.DENY, rules=rules(read="allow"))
    assert verdict(governance, "read") == Allow()
    assert judge(governance, "write").stage == "permission"


def test_a_reason_names_the_rule_and_the_tool():
    asks = governed(rules=(PermissionRule("rm*", PermissionAction.ASK_USER),))
    assert "'rm*'" in verdict(asks, "rm_all").reason
    assert "'rm_all'" in verdict(asks, "rm_all").reason
    assert "default" in verdict(governed(default_action=PermissionAction.DENY), "x").reason
