"""What a policy must be like beyond its types: nothing in it may be without effect or contradict itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.argument import LONGEST_MS, kept
from kernelckpt.model.governance import (
    MEMORY_WRITES,
    Constraint,
    GovernancePolicy,
    Range,
)

ROOT = "governance"
"""What paths in errors begin with."""


def checked_policy(policy: GovernancePolicy) -> GovernancePolicy:
    """A copy of a policy that shares nothing with its maker.

    Raises:
        InvalidValueError: a field holds what cannot be kept, has no effect or contradicts another; names
            the path.
    """
    policy = kept(policy, GovernancePolicy, ROOT)
    for index, rule in enumerate(policy.rules):
        _check_pattern(rule.tool_pattern, f"{ROOT}.rules[{index}].tool_pattern")
    for path, name in _tool_names(policy):
        _check_tool(name, path)
    for index, veto in enumerate(policy.vetoes):
        _check_text(veto, f"{ROOT}.vetoes[{index}]")
    for index, constraint in enumerate(policy.constraints):
        _check_constraint(constraint, f"{ROOT}.constraints[{index}]")
    _check_windows(policy)
    _check_folders(policy)
    return policy


def _tool_names(policy: GovernancePolicy) -> Iterator[tuple[str, str]]:
    """The exact tool names in a policy, with their paths."""
    for index, tool in enumerate(policy.vetoed_tools):
        yield f"{ROOT}.vetoed_tools[{index}]", tool
    for index, limit in enumerate(policy.rate_limits):
        yield f"{ROOT}.rate_limits[{index}].tool", limit.tool
    for index, constraint in enumerate(policy.constraints):
        yield f"{ROOT}.constraints[{index}].tool", constraint.tool


def _check_text(text: str, path: str) -> None:
    if not text:
        raise InvalidValueError(f"{path}: empty", path=path, hint="give it a name, or leave the entry out")


def _check_pattern(pattern: str, path: str) -> None:
    _check_text(pattern, path)
    stars = pattern.count("*")
    if stars > 1 or (stars == 1 and "*" not in {pattern[0], pattern[-1]}):
        hint = "one star, first or last: `*`, `read*`, `*_file`"
        raise InvalidValueError(f"{path}: {pattern!r} would match no tool as meant", path=path, hint=hint)


def _check_tool(tool: str, path: str) -> None:
    _check_text(tool, path)
    if "*" in tool:
        hint = "name tools one by one; patterns are for rules"
        raise InvalidValueError(f"{path}: {tool!r} is no tool's name", path=path, hint=hint)


def _check_constraint(constraint: Constraint, path: str) -> None:
    _check_text(constraint.path, f"{path}.path")
    if not isinstance(constraint, Range):
        return
    for bound, value in (("min", constraint.min), ("max", constraint.max)):
        if value is not None and not isfinite(value):
            place = f"{path}.{bound}"
            raise InvalidValueError(f"{place}: {value}", path=place, hint="leave a bound out that is none")
    if constraint.min is not None and constraint.max is not None and constraint.min > constraint.max:
        message = f"{path}: min {constraint.min} is greater than max {constraint.max}"
        raise InvalidValueError(message, path=path, hint="swap them")


def _check_windows(policy: GovernancePolicy) -> None:
    for index, tool_limit in enumerate(policy.rate_limits):
        _check_window(tool_limit.window_ms, f"{ROOT}.rate_limits[{index}]")
    _check_once((limit.tool for limit in policy.rate_limits), f"{ROOT}.rate_limits")
    if policy.default_rate_limit is not None:
        _check_window(policy.default_rate_limit.window_ms, f"{ROOT}.default_rate_limit")
    if policy.quota.memory_writes_per_window is not None:
        _, window_ms = policy.quota.memory_writes_per_window
        _check_window(window_ms, f"{ROOT}.quota.memory_writes_per_window")


def _check_window(window_ms: int, path: str) -> None:
    if not 0 < window_ms <= LONGEST_MS:
        message = f"{path}: a window of {window_ms} ms"
        raise InvalidValueError(message, path=path, hint=f"1 to {LONGEST_MS} ms")


def _check_once(tools: Iterable[str], path: str) -> None:
    seen = {MEMORY_WRITES}  # the slots of memory writes are kept under this name
    for index, tool in enumerate(tools):
        if tool in seen:
            place = f"{path}[{index}].tool"
            hint = f"one limit for a tool; that of {MEMORY_WRITES} is in `quota`"
            raise InvalidValueError(f"{place}: {tool!r} has a limit already", path=place, hint=hint)
        seen.add(tool)


def _check_folders(policy: GovernancePolicy) -> None:
    if policy.sandbox is None:
        return
    for name in ("allow_fs_read", "allow_fs_write"):
        for index, folder in enumerate(getattr(policy.sandbox, name)):
            if not folder:
                place = f"{ROOT}.sandbox.{name}[{index}]"
                hint = "`/` for all absolute paths, `.` for all relative ones"
                raise InvalidValueError(f"{place}: empty", path=place, hint=hint)
