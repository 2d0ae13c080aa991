"""Capabilities come and go: mounted by turns and milestones, gone when their lease has run out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from kernelckpt.codec.plain import check_plain
from kernelckpt.kernel.argument import kept, listed
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.capability import CapabilityDescriptor, CapabilityManifest
from kernelckpt.model.os_event import CapabilityChanged
from kernelckpt.model.tcb import Tcb


def kept_capabilities(given: Iterable[CapabilityDescriptor], name: str) -> tuple[CapabilityDescriptor, ...]:
    """Copies of capabilities as they would be restored.

    Raises:
        InvalidValueError: one is none, or holds what cannot be kept exactly; names the path.
    """
    found = []
    for index, item in enumerate(listed(given, name)):
        found.append(kept(item, CapabilityDescriptor, f"{name}[{index}]"))
        schema = item.tool_schema
        parts = {"skill": item.skill, "metadata": item.metadata}
        parts["tool_schema.parameters"] = None if schema is None else schema.parameters
        for part, value in parts.items():
            check_plain(value, f"{name}[{index}].{part}")
    return tuple(found)


def change_capabilities(
    state: KernelState,
    row: Tcb,
    changes: Iterable[Callable[[CapabilityManifest], CapabilityManifest]],
    *,
    mounted_by: str | None = None,
    reason: str | None = None,
) -> Tcb:
    """Change what a task may use; its row with the ids it has by then, to be put by the caller.

    Args:
        state: the kernel's state.
        row: the task's row.
        changes: each gives the manifest that follows.
        mounted_by: who makes them available, for the event.
        reason: why, for the event.
    """
    before = state.cell(row.id).capabilities or CapabilityManifest()
    after = before
    for change in changes:
        after = change(after)
    if after == before:
        return row
    state.put(("capabilities", row.id, 0), after)
    old, new = (dict.fromkeys(entry.display for entry in m.entries) for m in (before, after))
    event = CapabilityChanged(
        state.totals.turn,
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        mounted_by=mounted_by,
        mount_reason=reason,
    )
    state.note(event)
    had, has = (dict.fromkeys(entry.id for entry in m.entries) for m in (before, after))
    kept = [name for name in row.caps if name in has or name not in had]
    return replace(row, caps=tuple(dict.fromkeys((*kept, *(name for name in has if name not in had)))))


def expire_leases(state: KernelState, row: Tcb) -> Tcb:
    """Take away what was lent until the turn that begins; the row as it is then."""
    manifest = state.cell(row.id).capabilities
    gone = manifest.expired(row.budget.turns) if manifest is not None else ()
    if manifest is None or not gone:
        return row
    left = CapabilityManifest(tuple(entry for entry in manifest.entries if entry not in gone))
    return change_capabilities(state, row, [lambda _: left], reason="lease_expired")
