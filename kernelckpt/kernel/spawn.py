"""New tasks: what `submit` and `turn.spawn` are given, validated and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from kernelckpt.codec.plain import check_plain
from kernelckpt.errors import UsageError
from kernelckpt.kernel.argument import check_name, check_text, encoded_message, kept, listed, texts
from kernelckpt.kernel.capability_change import kept_capabilities
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.milestone import check_contract
from kernelckpt.kernel.new_task import Spawn
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.capability import CapabilityDescriptor, CapabilityManifest
from kernelckpt.model.message import Message
from kernelckpt.model.process import AgentIsolation, AgentRole
from kernelckpt.model.run_spec import AgentRunSpec

_T = TypeVar("_T")


def make_spawn(
    core: Core,
    program: str,
    task_id: str,
    *,
    goal: str,
    value: Any,
    labels: tuple[AgentRole | str, AgentIsolation | str],
    budget: SchedulerBudget | None,
    caps: Sequence[str],
    messages: Sequence[Message],
    run_spec: AgentRunSpec | None = None,
    capabilities: Sequence[CapabilityDescriptor] = (),
) -> Spawn:
    """A task to be, validated and encoded.

    Raises:
        UnknownProgramError: no such program.
        InvalidValueError: an argument cannot be kept exactly.
    """
    check_name(task_id, "task_id")
    check_text(goal, "goal")
    redactor = core.redactor
    redactor.refuse(task_id, "task_id")
    redactor.refuse(program, "program")
    goal = redactor.text(goal)
    codec = core.programs[program].input
    try:
        role, isolation = AgentRole(labels[0]), AgentIsolation(labels[1])
    except ValueError as error:
        raise UsageError(str(error), hint="use a label of AgentRole and of AgentIsolation") from error
    if run_spec is not None:
        run_spec = redactor.admitted(_checked_spec(run_spec), "run_spec")
        goal = _agreed("goal", goal, "", run_spec.goal)
        role = _agreed("role", role, AgentRole.CUSTOM, run_spec.role)
        isolation = _agreed("isolation", isolation, AgentIsolation.SHARED, run_spec.isolation)
    return Spawn(
        task_id,
        program,
        goal,
        None if value is None else redactor.value(codec, value, "input"),
        role,
        isolation,
        None if budget is None else kept(budget, SchedulerBudget, "budget"),
        _admitted_caps(core, caps),
        tuple(
            redactor.message(encoded_message(message, f"messages[{index}]"), f"messages[{index}]")
            for index, message in enumerate(listed(messages, "messages"))
        ),
        run_spec,
        redactor.admitted(
            CapabilityManifest().upsert(*kept_capabilities(capabilities, "capabilities")), "capabilities"
        ),
    )


def _admitted_caps(core: Core, caps: Sequence[str]) -> tuple[str, ...]:
    given = texts(caps, "caps")
    core.redactor.refuse(given, "caps")
    return given


def _checked_spec(run_spec: AgentRunSpec) -> AgentRunSpec:
    spec = kept(run_spec, AgentRunSpec, "run_spec")
    check_plain(run_spec.metadata, "run_spec.metadata")
    if spec.milestones is not None:
        check_contract(spec.milestones, "run_spec.milestones")
        for index, phase in enumerate(run_spec.milestones.phases if run_spec.milestones else ()):
            kept_capabilities(phase.unlocks, f"run_spec.milestones.phases[{index}].unlocks")
    return spec


def _agreed(name: str, given: _T, default: _T, specified: _T) -> _T:
    """What the specification says, unless the call says something else: then one of them is a mistake."""
    if given not in {default, specified}:
        message = f"{name} is another one than that of the run_spec"
        raise UsageError(message, hint="say it once, in the run_spec")
    return specified
