"""Governance and the signal router of a kernel: begun with a new run, recreated around a restored one."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from kernelckpt.errors import InvalidValueError, UsageError
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.governance.governance import Governance, missing_closures
from kernelckpt.kernel.governance.policy_check import checked_policy
from kernelckpt.kernel.governance.rejudging import rejudge
from kernelckpt.kernel.signal_router import SignalRouter
from kernelckpt.kernel.state import GOVERNANCE, TOTALS, KernelState
from kernelckpt.model.governance import GovernancePolicy


def begin(core: Core) -> None:
    """Put in force what a new run is told; the caller commits."""
    settings = core.settings
    if settings.policy is not None:
        core.state.put(GOVERNANCE, settings.policy)
        core.gate.governance = Governance(settings.policy, settings.closures)
    attention = settings.attention or ""
    capacity = settings.queue_capacity()
    core.router = SignalRouter(capacity, settings.attention_of(attention))
    core.state.put(TOTALS, replace(core.state.totals, queue_capacity=capacity, attention=attention))


def lacking(core: Core, state: KernelState) -> Iterator[str]:
    """What a restored state needs to be governed and this scheduler does not have."""
    policy = core.settings.policy or state.policy
    if policy is not None:
        for name in missing_closures(policy, core.settings.closures):
            yield f"governance closure {name!r}"
        try:
            checked_policy(policy)
        except InvalidValueError as error:
            yield f"a policy without fault ({error})"
    try:
        core.settings.attention_of(_attention(core, state))
    except UsageError:
        yield f"attention policy {_attention(core, state)!r}"


def recreate(core: Core) -> list[str]:
    """Rebuild governance and router around a restored state; what is to be said of it. The caller commits.

    A policy given to the scheduler takes the place of the one that was kept, and judges what is still to be
    done again; without one, the kept one goes on: a run that was governed is never ungoverned.
    """
    state, settings, said = core.state, core.settings, []
    policy: GovernancePolicy | None = settings.policy or state.policy
    if policy is not None:
        if state.policy not in {None, policy}:
            said.append("the governance policy that was kept gave way to the scheduler's")
        is_new = policy != state.policy
        core.gate.governance = Governance(policy, settings.closures)
        core.gate.governance.windows.load(state.rates)
        if is_new:
            state.put(GOVERNANCE, policy)
            rejudge(core)
    attention = _attention(core, state)
    capacity = settings.queue_capacity(state.totals.queue_capacity)
    queued = [(number, item.signal) for number, item in state.queued.items()]
    core.router = SignalRouter.restore(queued, capacity, settings.attention_of(attention))
    state.totals = replace(state.totals, queue_capacity=capacity, attention=attention)
    return said


def _attention(core: Core, state: KernelState) -> str:
    return state.totals.attention if core.settings.attention is None else core.settings.attention
