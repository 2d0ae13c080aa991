"""`kernelckpt approve RUN TASK KEY...`: yes to questions of a task."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import UNSET

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
from kernelckpt.cli.posting import KeySource, parse_json, post
from kernelckpt.model.command import Approve


def approve(
    run: RunArgument,
    task: TaskArgument,
    keys: Annotated[
        list[str],
        typer.Argument(metavar="KEY", help="The questions' keys, as `approvals RUN` lists them."),
    ],
    *,
    by: Annotated[str | None, typer.Option(metavar="WHO", help="Who says so, for the task to read.")] = None,
    value: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Of a question about one call: it is done, and has returned this."),
    ] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Say yes to questions of a task.

    It is posted to the run: a kernel that runs does it when it looks next, one that does not at its next
    start, once. With --wait the command says what came of it.
    """

    def make() -> Approve:
        outcome = UNSET if value is None else parse_json(value, "--value")
        return Approve(task, tuple(keys), by, outcome)

    ring = KeySource(key_file, accept_plaintext)
    post(run, make, ring, storage=storage, wait=wait, json=json)
