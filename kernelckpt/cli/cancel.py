"""`kernelckpt cancel RUN TASK`: the end of a task and its descendants."""

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
from kernelckpt.model.command import Cancel


def cancel(
    run: RunArgument,
    task: TaskArgument,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for its result.")] = "",
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """End a task and its descendants.

    It is posted to the run: a kernel that runs does it when it looks next, one that does not at its next
    start, once. With --wait the command says what came of it.
    """
    ring = KeySource(key_file, accept_plaintext)
    post(run, lambda: Cancel(task, reason), ring, storage=storage, wait=wait, json=json)
