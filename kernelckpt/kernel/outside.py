"""Commands that others have posted: each done once, in one commit with the record that it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import assert_never

from kernelckpt import errors
from kernelckpt.abc import Key
from kernelckpt.errors import KernelCkptError, UsageError
from kernelckpt.kernel import answering, attention, intake
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.error_text import error_text
from kernelckpt.model.approval import ApprovalStatus
from kernelckpt.model.command import (
    Approve,
    Cancel,
    Command,
    CommandOutcome,
    Deny,
    PostedCommand,
    SendMessage,
    SendSignal,
)

_LONGEST_TEXT = 2000


def key_of(command_id: str) -> Key:
    """What the record of a command is kept under; two ids do not meet in 63 bits."""
    digest = hashlib.blake2b(command_id.encode(), digest_size=8).digest()
    return ("command", "", int.from_bytes(digest, "big") >> 1)


def outcome_of(core: Core, command_id: str) -> CommandOutcome | None:
    """What came of a command that was taken before; None for a new one."""
    return core.state.commands.get(key_of(command_id)[2])


def take(core: Core, posted: PostedCommand) -> tuple[CommandOutcome, list[str]]:
    """Do what is asked, in one commit with what came of it; and the tasks that it has ended.

    What is recorded before the work is staged is in the work's own commit.
    """
    key = key_of(posted.id)
    core.state.put(key, CommandOutcome(posted.id))
    ended: list[str] = []
    try:
        with core.redactor.errors():
            text = _done(core, posted.command, ended)
    except Exception as error:  # noqa: BLE001 - also what a user's policy raises: it would at every start
        core.state.put(key, _refused(posted.id, error))
    else:
        if text:
            core.state.put(key, CommandOutcome(posted.id, text=text))
    if core.state.uncommitted:
        core.state.commit()
    return core.state.commands[key[2]], ended


def refuse(core: Core, command_id: str, error: KernelCkptError) -> CommandOutcome:
    """Record that a command was refused, in a commit: only an owner that can write it may delete it."""
    key = key_of(command_id)
    core.state.put(key, _refused(command_id, error))
    core.state.commit()
    return core.state.commands[key[2]]


def _done(core: Core, command: Command, ended: list[str]) -> str:
    """Do what is asked; what is to be told: the verdict on a signal, or that there was nothing to do."""
    match command:
        case Approve(task_id, keys, by, outcome):
            answering.check_named(keys)
            yes = ApprovalStatus.APPROVED
            answering.answer(core, task_id, keys, yes, by=by, reason="", outcome=outcome)
        case Deny(task_id, keys, reason):
            asked = keys or answering.pending_keys(core, task_id)
            answering.answer(core, task_id, asked, ApprovalStatus.DENIED, by=None, reason=reason)
            return "" if asked else "no question was open"
        case SendMessage(task_id, message, key):
            is_new = intake.send(core, task_id, message, key)
            return "" if is_new else "a message of this key was there already"
        case SendSignal(signal, task_id):
            return attention.take(core, signal, task_id).value
        case Cancel(task_id, reason):
            ended += intake.cancel(core, task_id, reason)
        case _:
            assert_never(command)
    return ""


def _refused(command_id: str, error: Exception) -> CommandOutcome:
    if isinstance(error, KernelCkptError):
        names = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        text, hint, name = error.message, error.hint, next(names)
    else:
        text, hint, name = error_text(error), "", UsageError.__name__
    return CommandOutcome(command_id, False, text[:_LONGEST_TEXT], hint[:_LONGEST_TEXT], name)


def forget(core: Core, command_ids: Iterable[str]) -> None:
    """Remember commands no longer; it rides along with the next checkpoint."""
    for key in map(key_of, command_ids):
        if key[2] in core.state.commands:
            core.state.remove(key)
    if core.state.uncommitted:
        core.state.commit(urgent=False)
