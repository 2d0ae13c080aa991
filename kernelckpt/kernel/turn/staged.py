"""What a turn has staged: nothing of it is state until the turn is committed."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from kernelckpt.kernel.new_task import Spawn
from kernelckpt.model.capability import CapabilityManifest
from kernelckpt.model.context import Context, ContextMeter, Plan
from kernelckpt.model.event import SessionEvent
from kernelckpt.model.kernel import Value

_ADDED = 2
"""How many attributes of its own a `Staged` has in which nothing is rarely staged: messages and spawns."""


class Staged:
    """The operations of one turn, in order; nothing of it is state until `commit_turn`.

    Most turns stage little: what is rarely staged lies in the class until it is, for a turn is made often.
    """

    history: list[bytes] | None = None
    value: Value | None = None
    plan: tuple[Callable[[Plan], Plan], ...] = ()
    context: tuple[Callable[[Context], Context], ...] = ()
    meter: tuple[Callable[[ContextMeter], ContextMeter], ...] = ()
    capabilities: tuple[Callable[[CapabilityManifest], CapabilityManifest], ...] = ()
    events: tuple[Callable[[int], SessionEvent], ...] = ()
    dropped_spools: frozenset[int] = frozenset()
    read: frozenset[int] = frozenset()
    effects = 0

    def __init__(self) -> None:
        self.messages: dict[str, list[bytes]] = {}
        self.spawns: dict[str, Spawn] = {}

    @property
    def empty(self) -> bool:
        """Whether the turn has done nothing that a commit would keep or that cannot be repeated."""
        nothing = not (self.messages or self.plan or self.context or self.meter or self.capabilities)
        nothing = nothing and not (self.events or self.spawns or self.read or self.effects)
        return nothing and self.value is None and self.history is None

    @property
    def only_adds(self) -> bool:
        """Whether nothing is staged but messages and spawns: all else lies in the class."""
        return len(self.__dict__) == _ADDED

    def append(self, partition: str, *items: bytes) -> None:
        """Stage encoded messages for a partition."""
        self.messages.setdefault(partition, []).extend(items)

    def plan_after(self, plan: Plan) -> Plan:
        """A plan with the staged changes."""
        for change in self.plan:
            plan = change(plan)
        return plan

    def meter_after(self, meter: ContextMeter | None) -> ContextMeter:
        """What is measured, with the staged changes."""
        meter = meter or ContextMeter()
        for change in self.meter:
            meter = change(meter)
        return meter

    def context_after(self, context: Context) -> Context:
        """A context with the staged changes, but for the messages."""
        if not (self.context or self.plan) and self.history is None:
            return context
        for change in self.context:
            context = change(context)
        plan = self.plan_after(context.plan)
        if self.history is not None:
            return replace(context, plan=plan, history=context.history + 1)
        return replace(context, plan=plan) if self.plan else context
