"""A change of the goal/plan record of which only some fields are given."""

from __future__ import annotations

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from kernelckpt.model.context import MAX_DIRECTIVES, Plan, PlanStep
from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class PlanUpdate(Record, frozen=True):
    """New values of fields of a plan; what is not given stays.

    Attributes:
        goal: what is to be done.
        criteria: when it is done.
        plan: labels of the new steps, none of which is done.
        current_step: index of the step being worked on.
        progress: where it stands.
        scratchpad: notes of the agent to itself.
        blocked_on: what stands in the way.
        directives: standing instructions, newest last; the newest 8 are kept.
        preserved_refs: call ids whose results must not be compressed.
    """

    goal: str | UnsetType = UNSET
    criteria: tuple[str, ...] | UnsetType = UNSET
    plan: tuple[str, ...] | UnsetType = UNSET
    current_step: U32 | UnsetType | None = UNSET
    progress: str | UnsetType = UNSET
    scratchpad: str | UnsetType = UNSET
    blocked_on: tuple[str, ...] | UnsetType = UNSET
    directives: tuple[str, ...] | UnsetType = UNSET
    preserved_refs: tuple[str, ...] | UnsetType = UNSET

    def applied_to(self, plan: Plan) -> Plan:
        """The plan with the given fields replaced."""
        given = {name: value for name, value in asdict(self).items() if value is not UNSET}
        if self.plan is not UNSET:
            given["plan"] = tuple(map(PlanStep, self.plan))
        if self.directives is not UNSET:
            given["directives"] = self.directives[-MAX_DIRECTIVES:]
        return replace(plan, **given)
