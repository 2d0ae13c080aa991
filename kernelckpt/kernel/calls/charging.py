"""What calls cost: charged in the commit that records the outcome, so that a rerun charges nothing."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.kernel.calls.tool import Tool
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.error_text import error_text
from kernelckpt.kernel.spending import check_charge, put_charge
from kernelckpt.model.effect import Effect, EffectStatus


def charged(core: Core, task_id: str | None, parent: str | None, done: Effect, tool: Tool) -> Effect:
    """Charge a call by what it returned; the caller writes its entry in the same commit: both, or neither.

    Args:
        core: the kernel.
        task_id: who is charged; None for a task that was forgotten.
        parent: its parent.
        done: the call's entry in the ledger.
        tool: what was called.

    Returns:
        The entry; that of a call that raised if nobody can tell what it has cost.
    """
    if tool.charge is None or done.status is not EffectStatus.RETURNED:
        return done
    try:
        charge = tool.charge(tool.returns.decode(done.outcome, f"the value of {tool.name}"))
        check_charge(core, charge)
    except Exception as error:  # noqa: BLE001 - it is the user's function
        why = f"charge: {error_text(error)}"
        return core.redactor.record(replace(done, status=EffectStatus.RAISED, outcome=b"", error=why))
    put_charge(core, task_id, parent, charge)
    return done
