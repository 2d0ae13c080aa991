"""`kernelckpt export RUN FILE`: a run, as it is, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernelckpt.cli.command import run
from kernelckpt.cli.copying import INTERRUPTED, copy_one
from kernelckpt.cli.option import DEFAULT_STORAGE, JsonOption, RunArgument, StorageOption
from kernelckpt.storage import SqliteStorage, open_storage


def export(
    run_id: RunArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Made, or added to if it was exported to before.")
    ],
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    json: JsonOption = False,
) -> None:
    """Copy a run into one file.

    It is the storage sqlite:FILE, which holds any number of runs: commands and kernels can use it as it is,
    and `import` copies runs out of it. As for the rest, this is `copy`: called again, it goes on where it was
    interrupted, or adds what is new. A file that is anything else is left alone.
    """
    path = file.absolute()

    async def work() -> None:
        async with open_storage(storage) as source, SqliteStorage(path) as target:
            await target.check()
            await copy_one(source, target, run_id, json=json)

    run(work, interrupted=INTERRUPTED)
