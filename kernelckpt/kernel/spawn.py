"""New tasks: what `submit` and `turn.spawn` are given, validated and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kernelckpt.codec.plain import check_plain
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import InvalidValueError, UsageError
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
    for name, text in (("task_id", task_id), ("goal", goal), *(("caps", cap) for cap in caps)):
        check_text(text, name)
    if not task_id:
        raise UsageError("an empty task id", hint="give the task a name")
    codec = core.programs[program].input
    try:
        role, isolation = AgentRole(labels[0]), AgentIsolation(labels[1])
    except ValueError as error:
        raise UsageError(str(error), hint="use a label of AgentRole and of AgentIsolation") from error
    data = None if value is None else codec.encode(value, "input")
    encoded = tuple(encoded_message(message) for message in messages)
    return Spawn(task_id, program, goal, data, role, isolation, budget, tuple(caps), encoded)


def encoded_message(message: Message) -> bytes:
    """The bytes of a message to be kept.

    Raises:
        InvalidValueError: it is no message, or holds what cannot be kept exactly.
    """
    if not isinstance(message, Message):
        text = f"message: a {type(message).__name__}"
        raise InvalidValueError(text, path="message", hint="pass a Message, as Message.user(text)")
    for index, call in enumerate(message.tool_calls):
        check_plain(call.arguments, f"message.tool_calls[{index}].arguments")
    data = encode_record(message, "message")
    if not isinstance(message.content, str) or message.tool_calls:
        msgspec.msgpack.decode(data, type=Message)
    return data


def check_text(text: Any, name: str) -> None:
    """Raise `InvalidValueError` for anything but text that can be encoded."""
    if type(text) is not str:
        raise InvalidValueError(f"{name}: a {type(text).__name__}", path=name, hint="pass text")
    check_plain(text, name)
