"""New tasks: what `submit` and `turn.spawn` ask for, and the records it becomes."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from kernelckpt.kernel.core import Core
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.capability import CapabilityFilter, CapabilityManifest
from kernelckpt.model.context import Context, Plan
from kernelckpt.model.kernel import Value
from kernelckpt.model.process import AgentIsolation, AgentRole, ProcInfo, inheritance_of
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.tcb import Tcb


class Spawn(msgspec.Struct, frozen=True):
    """A task to be: what `submit` and `turn.spawn` ask for, encoded already."""

    task_id: str
    program: str
    goal: str
    input: bytes | None
    role: AgentRole
    isolation: AgentIsolation
    budget: SchedulerBudget | None
    caps: tuple[str, ...]
    messages: tuple[bytes, ...]
    spec: AgentRunSpec | None = None
    capabilities: CapabilityManifest = CapabilityManifest()


def put_new_task(core: Core, spawn: Spawn, parent: Tcb | None) -> None:
    """Add a task's records; it is ready to run."""
    budget = spawn.budget or core.settings.budget
    if parent is None:
        row = Tcb.root(spawn.task_id, budget)
    else:
        proc = ProcInfo(parent.id, spawn.role, spawn.isolation, inheritance_of(spawn.role))
        row = Tcb.spawned_child(spawn.task_id, parent.id, proc, budget)
        row = replace(row, changed_turn=core.state.totals.turn)
    version = core.programs[spawn.program].version
    manifest = _manifest(core, spawn, parent)
    caps = spawn.caps or manifest.permitted_ids(CapabilityFilter())
    row = replace(row, program=spawn.program, version=version, goal=spawn.goal, caps=caps)
    core.state.put_row(row)
    if spawn.spec is not None:
        core.state.put(("spec", spawn.task_id, 0), spawn.spec)
    if manifest.entries:
        core.state.put(("capabilities", spawn.task_id, 0), manifest)
    if spawn.input is not None:
        core.state.put(("input", spawn.task_id, 0), Value(spawn.input, version))
    context = context_of(core, spawn.goal, budget)
    if context != Context():
        core.state.put(("context", spawn.task_id, 0), context)
    core.state.append(spawn.task_id, "history", spawn.messages)
    if parent is None:
        core.live_roots[spawn.task_id] = None
    core.push(spawn.task_id)
    core.tell("started", spawn.task_id, 0, program=spawn.program)


def context_of(core: Core, goal: str, budget: SchedulerBudget) -> Context:
    """A fresh context for a goal."""
    return Context(plan=Plan(goal), max_tokens=budget.max_tokens, config=core.settings.context)


def _manifest(core: Core, spawn: Spawn, parent: Tcb | None) -> CapabilityManifest:
    """What the task may use: of what it is given, or of what its parent has, what its filter lets pass."""
    given = spawn.capabilities
    if parent is not None and not given.entries:
        given = core.cell(parent.id).capabilities or given
    return given if spawn.spec is None else given.passing(spawn.spec.capability_filter)
