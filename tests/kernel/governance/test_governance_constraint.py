"""Constraints on arguments, and the dotted paths that lead to them."""

import pytest
from governance_kit import governed, judge, verdict

from kernelckpt.kernel.governance.argument_path import keys_of, value_at
from kernelckpt.model.governance import Allow, Deny, OneOf, Range, Required

NAN = float("nan")


def stage(constraint, arguments):
    return judge(governed(constraints=(constraint,)), "tool", arguments).stage


@pytest.mark.parametrize(
    ("arguments", "denied"),
    [
        ({"path": "/x"}, False),
        ({"path": ""}, False),
        ({"path": 0}, False),
        ({"path": False}, False),
        ({"path": None}, True),
        ({}, True),
        (None, True),
        ([], True),
        ("path", True),
    ],
)
def test_required(arguments, denied):
    assert (stage(Required("tool", "path"), arguments) == "constraint") is denied


@pytest.mark.parametrize(
    ("value", "denied"),
    [("fast", False), ("slow", False), ("Fast", True), ("", True), (None, False), (1, False), (["x"], False)],
)
def test_enum_is_about_texts(value, denied):
    assert (stage(OneOf("tool", "mode", ("fast", "slow")), {"mode": value}) == "constraint") is denied


def test_an_enum_of_nothing_denies_every_text():
    assert verdict(governed(constraints=(OneOf("tool", "mode", ()),)), "tool", {"mode": "x"}) == Deny(
        "constraint", "argument 'mode' must be one of nothing"
    )


@pytest.mark.parametrize(
    ("value", "denied"),
    [
        (1, False),
        (10, False),
        (10.0, False),
        (0, True),
        (0.999, True),
        (10.001, True),
        (2**70, True),
        (NAN, True),
        (float("inf"), True),
        (True, False),
        (False, False),
        ("99", False),
        (None, False),
    ],
)
def test_range_is_inclusive_and_about_numbers(value, denied):
    assert (stage(Range("tool", "n", 1, 10), {"n": value}) == "constraint") is denied


def test_a_range_may_have_one_bound_or_none():
    assert stage(Range("tool", "n", min=1), {"n": 10**9}) is None
    assert stage(Range("tool", "n", max=1), {"n": -(10**9)}) is None
    assert stage(Range("tool", "n", max=1), {"n": 2}) == "constraint"
    assert stage(Range("tool", "n"), {"n": 2}) is None
    assert stage(Range("tool", "n", min=1), {"n": NAN}) == "constraint"


def test_constraints_are_for_their_tool_alone():
    governance = governed(constraints=(Required("write", "path"),))
    assert verdict(governance, "read", {}) == Allow()
    assert judge(governance, "write", {}).stage == "constraint"


def test_the_first_broken_constraint_counts():
    governance = governed(constraints=(Required("tool", "a"), Required("tool", "b")))
    assert "'b'" in verdict(governance, "tool", {"a": 1}).reason
    assert "'a'" in verdict(governance, "tool", {}).reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", {"b": {"c": 1}, "": 5}),
        ("a.b.c", 1),
        ("a/b", {"c": 1}),
        ("a.", 5),
        ("items.0", "x"),
        ("items.1.name", "y"),
        ("items.2", None),
        ("items.01", None),
        ("items.-1", None),
        ("items.+1", None),
        ("items.\u0661", None),
        ("items." + "9" * 5000, None),
        ("items.name", None),
        ("a.b.c.d", None),
        ("missing.b", None),
        ("s~1t.x~0y", 2),
        ("s/t", None),
        ("größe.ß", 3),
    ],
)
def test_dotted_paths_reach_as_far_as_json_pointers(path, value):
    arguments = {
        "a": {"b": {"c": 1}, "": 5},
        "items": ["x", {"name": "y"}],
        "s/t": {"x~y": 2},
        "größe": {"ß": 3},
    }
    assert value_at(arguments, keys_of(path)) == value


def test_an_index_has_no_leading_zero():
    items = list(range(12))
    assert value_at(items, ("11",)) == 11
    assert value_at(items, ("01",)) is None
    assert value_at(items, ("0",)) == 0


def test_a_nested_argument_is_constrained():
    constraint = Range("tool", "limits.0.max", max=5)
    assert stage(constraint, {"limits": [{"max": 6}]}) == "constraint"
    assert stage(constraint, {"limits": [{"max": 5}]}) is None
