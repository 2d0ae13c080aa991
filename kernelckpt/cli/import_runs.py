"""`kernelckpt import FILE [RUN...]`: the runs of an exported file, in a storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.cli.command import print_json, run
from kernelckpt.cli.copying import INTERRUPTED, copy_facts, copy_shown, print_copied, print_notes
from kernelckpt.cli.display import shown
from kernelckpt.cli.option import DEFAULT_STORAGE, JsonOption, StorageOption
from kernelckpt.errors import DamagedRunsError, NotFoundError, UsageError
from kernelckpt.storage import SqliteStorage, open_storage


def import_runs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` has made.")],
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="The runs to copy; all by default.")
    ] = None,
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    json: JsonOption = False,
) -> None:
    """Copy the runs of such a file to a storage.

    The file stays as it is. A run that is in the storage already is gone on with if the file has a later
    state of it, and refused if it is another run or has gone on by itself.
    """
    path = file.absolute()

    async def work() -> None:
        if not await anyio.Path(path).is_file():
            raise UsageError(f"{file}: no such file", hint="name a file that `kernelckpt export` has made")
        async with SqliteStorage(path) as source, open_storage(storage) as target:
            await source.check()
            copied = await _copy(source, target, await _chosen(source, runs or ()), json=json)
            if json:
                print_json({"from": source.name, "to": target.name, "runs": copied})
            else:
                print_notes(target)

    run(work, interrupted=INTERRUPTED)


async def _chosen(source: StorageBackend, wanted: Sequence[str]) -> Sequence[str]:
    """The runs to copy; nothing is copied if one of them is not there, or cannot be known to be."""
    try:
        found = await source.list_runs()
    except DamagedRunsError as error:
        if not wanted:
            raise
        found = [*error.runs, *error.damaged]
    for name in wanted:
        if name not in found:
            raise NotFoundError(
                f"{source.name}: no run {name!r}", hint=f"it holds: {', '.join(map(repr, found)) or 'none'}"
            )
    return wanted or found


async def _copy(
    source: StorageBackend, target: StorageBackend, names: Sequence[str], *, json: bool
) -> list[dict[str, Any]]:
    """Each is told of when it is done: one that is refused takes nothing from those before it."""
    copied = []
    for name in names:
        report = await copy_shown(source, target, name)
        copied.append(copy_facts(report))
        if not json:
            print_copied(report)
    if not names and not json:
        typer.echo(f"no runs in {shown(source.name)}")
    return copied
