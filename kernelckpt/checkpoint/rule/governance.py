"""Governance: the kept policy can be put in force; what rate slots show that is odd is worth a note."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.rule.unreadable import is_unreadable
from kernelckpt.errors import UsageError
from kernelckpt.kernel.governance.governance import Governance
from kernelckpt.kernel.governance.quota import SPAWN, memory_window
from kernelckpt.kernel.state import GOVERNANCE
from kernelckpt.model.governance import MEMORY_WRITES, GovernancePolicy, RateSlot


def policy_faults(run: DecodedRun) -> Iterator[str]:
    """Why the kept policy cannot be put in force, whatever closures a scheduler has."""
    policy = _policy_of(run)
    if policy is None:
        return
    try:
        Governance(policy, dict.fromkeys(policy.vetoes, _stand_in))
    except UsageError as error:
        yield f"it cannot be put in force: {error.message}"


def rate_notes(run: DecodedRun, wall_ms: int) -> Iterator[str]:
    """What is odd about the rate slots; none of it hurts a kernel that goes on.

    Args:
        run: the records.
        wall_ms: when the checkpoint was written.
    """
    slots = run.records("rate", "", RateSlot).values()
    early = Counter(slot.name for slot in slots if slot.at_ms > wall_ms)
    for name, count in early.items():
        yield f"{count} rate slots of {name!r} are from the future: they count until the clock is past them"
    if is_unreadable(run, GOVERNANCE):
        return
    policy = _policy_of(run)
    unlimited = Counter(slot.name for slot in slots if not _is_limited(policy, slot.name))
    for name, count in unlimited.items():
        yield f"{count} rate slots of {name!r} count for nothing: the kept policy does not limit it"


def _policy_of(run: DecodedRun) -> GovernancePolicy | None:
    return run.records(*GOVERNANCE[:2], GovernancePolicy).get(0)


def _is_limited(policy: GovernancePolicy | None, name: str) -> bool:
    if policy is None:
        return False
    if name == MEMORY_WRITES:
        return memory_window(policy.quota) is not None
    has_own = any(limit.tool == name for limit in policy.rate_limits)
    return has_own or (policy.default_rate_limit is not None and name != SPAWN)


def _stand_in(*_: object) -> None:
    """Stand for a veto: only that it is there counts."""
