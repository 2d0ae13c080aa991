"""How the commands that tell a run something post it, and say what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec
import typer
from msgspec import to_builtins

from kernelckpt import errors
from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.post import post_command
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import shown
from kernelckpt.cli.exit_code import ExitCode
from kernelckpt.cli.keys import keys_at_hand
from kernelckpt.errors import KernelCkptError, UnknownTaskError, UsageError
from kernelckpt.model.command import Command, CommandOutcome


class KeySource(NamedTuple):
    """Where the keys of a run are, and whether it may be one that was begun without."""

    file: Path | None
    accept_plaintext: bool


def post(
    run_id: str, make: Callable[[], Command], source: KeySource, *, storage: str, wait: float, json: bool
) -> NoReturn:
    """Make a command and post it, and leave with the exit code of what came of it."""

    async def work(opened: StorageBackend) -> ExitCode:
        keys = keys_at_hand(source.file, accept_plaintext=source.accept_plaintext)
        outcome = await post_command(opened, run_id, make(), wait=wait, keys=keys)
        if json:
            print_json({"run": run_id, "outcome": None if outcome is None else _form(outcome)})
        if outcome is not None and not outcome.applied:
            raise _refusal(outcome)
        if not json:
            typer.echo(f"run {shown(run_id)}: {_said(outcome, wait)}")
        return ExitCode.UNANSWERED if outcome is None and wait else ExitCode.OK

    run_with_storage(storage, work)


def parse_json(text: str, option: str) -> Any:
    """The data that a user gave as JSON.

    Raises:
        UsageError: it is none.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError(f"{option}: not JSON: {error}", hint="text goes in quotes: '\"yes\"'") from error


def _form(outcome: CommandOutcome) -> dict[str, Any]:
    return {"applied": outcome.applied, **to_builtins(outcome)}


def _said(outcome: CommandOutcome | None, wait: float) -> str:
    if outcome is not None:
        return f"done: {shown(outcome.text)}" if outcome.text else "done"
    if wait:
        return f"posted; no kernel has said within {wait:g} s what came of it. One that runs later will do it"
    return "posted; its kernel does it when it looks next, or at its next start"


def _refusal(outcome: CommandOutcome) -> KernelCkptError:
    """The error that calling the kernel itself would have raised."""
    found = getattr(errors, outcome.error, None)
    kind = found if isinstance(found, type) and issubclass(found, KernelCkptError) else KernelCkptError
    hint = outcome.hint
    if kind is UnknownTaskError:
        hint = "`kernelckpt show RUN` lists its tasks; a finished one may have been forgotten"
    return kind(f"the kernel has refused it: {outcome.text}", hint=hint)
