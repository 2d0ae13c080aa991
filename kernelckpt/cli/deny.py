"""`kernelckpt deny RUN TASK [KEY...]`: no to questions of a task."""

from __future__ import annotations

from typing import Annotated

import typer

from kernelckpt.cli.option import (
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    PlaintextOption,
    RunArgument,
    StorageOption,
    TaskArgument,
    WaitOption,
)
from kernelckpt.cli.posting import KeySource, post
from kernelckpt.model.command import Deny


def deny(
    run: RunArgument,
    task: TaskArgument,
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY", help="The questions' keys; without one, all that are open then."),
    ] = None,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the task to read.")] = "",
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Say no to questions of a task.

    It is posted to the run: a kernel that runs does it when it looks next, one that does not at its next
    start, once. With --wait the command says what came of it.
    """
    ring = KeySource(key_file, accept_plaintext)
    post(run, lambda: Deny(task, tuple(keys or ()), reason), ring, storage=storage, wait=wait, json=json)
