"""`kernelckpt delete RUN...`: removes runs with everything in them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import typer
from msgspec import Struct

from kernelckpt.abc import StorageBackend
from kernelckpt.cli.command import do_with_storage, fail, hint_of, print_error, print_json, run_with_storage
from kernelckpt.cli.display import counted, shown, size_text, time_text
from kernelckpt.cli.exit_code import ExitCode, exit_code_of
from kernelckpt.cli.keys import keys_at_hand
from kernelckpt.cli.option import (
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    PlaintextOption,
    StorageOption,
)
from kernelckpt.cli.progress import progress
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.errors import (
    EncryptionError,
    FormatError,
    KernelCkptError,
    NotFoundError,
    OwnershipError,
    UsageError,
)
from kernelckpt.log import list_checkpoints

_INTERRUPTED = "interrupted: a run that is not said to be deleted is as it was, or can be deleted again"


class _Loss(Struct):
    """What a deletion takes along, as far as it can be read; `unread` says why not all of it."""

    storage: str
    size: int | None = None
    messages: int = 0
    checkpoints: int | None = None
    wall_ms: int | None = None
    unread: str = ""


def delete(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="The ids of the runs.")],
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can be asked.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete runs with everything in them.

    On a terminal it says what will be lost, and asks. Nobody may own a run that is deleted; a damaged one can
    be deleted, and an encrypted one without its key. Pins keep checkpoints from pruning, not from this.
    """
    names = list(dict.fromkeys(runs))
    if not yes:
        if not sys.stdin.isatty():
            fail(UsageError("there is no terminal to ask on", hint="--yes deletes without asking"))
        _ask(storage, names, partial(keys_at_hand, key_file, accept_plaintext=accept_plaintext))

    async def work(opened: StorageBackend) -> ExitCode:
        failed = await _delete(opened, names, is_told=not json)
        if json:
            print_json(
                {
                    "storage": opened.name,
                    "deleted": [name for name in names if name not in failed],
                    "failed": [
                        {"run": name, "error": error.message, "hint": hint_of(error)}
                        for name, error in failed.items()
                    ],
                }
            )
        return next(map(exit_code_of, failed.values()), ExitCode.OK)

    run_with_storage(storage, work, interrupted=_INTERRUPTED)


async def _delete(
    storage: StorageBackend, names: Sequence[str], *, is_told: bool
) -> dict[str, KernelCkptError]:
    """Delete one after the other, whatever becomes of those before it; say why some were not."""
    failed: dict[str, KernelCkptError] = {}
    for name in names:
        try:
            with progress(f"deleting {shown(name, 40)}"):
                await storage.delete_run(name)
        except KernelCkptError as error:
            failed[name] = error
            print_error(error)
            if not isinstance(error, NotFoundError):
                part = "" if isinstance(error, OwnershipError) else ", or only in part: delete it again"
                typer.echo(f"run {shown(name)}: not deleted{part}", err=True)
        else:
            if is_told:
                typer.echo(f"run {shown(name)}: deleted")
    return failed


def _ask(url: str, names: Sequence[str], keys: Callable[[], KeyRing | None]) -> None:
    """Ask whether to lose what is there, if anything is; leaves unless the answer is yes."""
    found: dict[str, _Loss | None] = {}

    async def look(opened: StorageBackend) -> None:
        codec = Codec(keys())
        with progress("reading runs") as step:
            for index, name in enumerate(names):
                found[name] = await _loss(opened, name, codec)
                step(index + 1, len(names))

    do_with_storage(url, look)
    there = sum(loss is not None for loss in found.values())
    if not there:
        return  # the error of deleting it says so
    for name, loss in found.items():
        typer.echo(f"run {shown(name)}{_text(loss)}", err=True)
    if not _is_agreed("Delete it?" if there == 1 else f"Delete these {there} runs?"):
        typer.echo("nothing was deleted", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED)


def _is_agreed(question: str) -> bool:
    """Whether the answer is yes. It is waited for outside of any event loop, or Ctrl-C would not end it."""
    try:
        typer.echo(f"{question} Nothing brings back what is deleted. [y/N] ", nl=False, err=True)
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
    if not answer.endswith("\n"):
        typer.echo(err=True)
    return answer.strip().lower() in {"y", "yes"}


async def _loss(storage: StorageBackend, run_id: str, codec: Codec) -> _Loss | None:
    """What deleting a run takes along; None if there is none, or its deletion was begun."""
    loss = _Loss(storage.name)
    try:
        blobs, posted = await storage.list_blobs(run_id), await storage.posted(run_id)
        loss.messages = len(posted)
        loss.size = sum(len(message.data) for message in posted) + sum(blob.size for blob in blobs)
        loss.size += await _entry_bytes(storage, run_id)
        found = await list_checkpoints(storage, run_id, codec=codec)
        loss.checkpoints = len(found)
        loss.wall_ms = found[-1].wall_ms if found else None
    except NotFoundError:
        return None
    except (FormatError, EncryptionError) as error:
        loss.unread = error.message
    return loss


async def _entry_bytes(storage: StorageBackend, run_id: str) -> int:
    size = after = 0
    while page := await storage.list_entries(run_id, after=after):
        size += sum(entry.size for entry in page)
        after = page[-1].sequence
    return size


def _text(loss: _Loss | None) -> str:
    if loss is None:
        return ": there is none, or its deletion was begun"
    facts = [] if loss.checkpoints is None else [counted(loss.checkpoints, "checkpoint")]
    if loss.size is not None:
        facts.append(size_text(loss.size))
    if loss.wall_ms:
        facts.append(f"the newest of {time_text(loss.wall_ms)}")
    if loss.messages:
        facts.append(f"{counted(loss.messages, 'message')} in the inbox")
    if loss.unread:
        facts.append(f"not all of it can be read: {shown(loss.unread)}")
    return f" in {shown(loss.storage)}: {', '.join(facts)}"
