"""New tasks: what `submit` and `turn.spawn` are given, validated and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelckpt.errors import UsageError
from kernelckpt.kernel.argument import check_name, check_text, encoded_message, kept, listed, texts
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.staged import Spawn
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.message import Message
from kernelckpt.model.process import AgentIsolation, AgentRole


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
) -> Spawn:
    """A task to be, validated and encoded.

    Raises:
        UnknownProgramError: no such program.
        InvalidValueError: an argument cannot be kept exactly.
    """
    check_name(task_id, "task_id")
    check_text(goal, "goal")
    codec = core.programs[program].input
    try:
        role, isolation = AgentRole(labels[0]), AgentIsolation(labels[1])
    except ValueError as error:
        raise UsageError(str(error), hint="use a label of AgentRole and of AgentIsolation") from error
    return Spawn(
        task_id,
        program,
        goal,
        None if value is None else codec.encode(value, "input"),
        role,
        isolation,
        None if budget is None else kept(budget, SchedulerBudget, "budget"),
        texts(caps, "caps"),
        tuple(
            encoded_message(message, f"messages[{index}]")
            for index, message in enumerate(listed(messages, "messages"))
        ),
    )
