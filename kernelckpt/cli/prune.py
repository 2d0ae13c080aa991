"""`kernelckpt prune RUN`: removes what no kept checkpoint rests on."""

from __future__ import annotations

from typing import Annotated

import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.prune import prune as prune_run
from kernelckpt.checkpoint.prune import rehearse_prune
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import counted, shown, size_text
from kernelckpt.cli.keys import keys_at_hand
from kernelckpt.cli.option import (
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    PlaintextOption,
    RunArgument,
    StorageOption,
)
from kernelckpt.cli.progress import progress
from kernelckpt.log import PruneReport, Retention


def prune(
    run: RunArgument,
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    bases: Annotated[int, typer.Option(min=1, metavar="N", help="Keep so many of the newest bases.")] = 2,
    pin: Annotated[
        list[int] | None, typer.Option(min=1, metavar="SEQ", help="Keep this checkpoint; may be repeated.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed; works beside an owner.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Remove what no kept checkpoint needs.

    Checkpoints since the oldest kept base stay restorable, and so do pinned ones. A kernel that owns the
    run prunes by itself; this is for runs that nobody owns.
    """
    retention = Retention(bases=bases, pins=tuple(pin or ()))

    async def work(opened: StorageBackend) -> None:
        keys = keys_at_hand(key_file, accept_plaintext=accept_plaintext)
        with progress("pruning"):
            do = rehearse_prune if dry_run else prune_run
            report = await do(opened, run, retention, keys=keys)
        if json:
            print_json(
                {
                    "run": run,
                    "dry_run": dry_run,
                    "entries": report.entries,
                    "blobs": report.blobs,
                    "size": report.size,
                }
            )
        else:
            _print(run, report, dry_run=dry_run)

    run_with_storage(storage, work)


def _print(run: str, report: PruneReport, *, dry_run: bool) -> None:
    if not report.entries and not report.blobs:
        typer.echo(f"run {shown(run)}: nothing to remove")
        return
    typer.echo(
        f"run {shown(run)}: {'would remove' if dry_run else 'removed'} "
        f"{counted(report.entries, 'entry', 'entries')} and {counted(report.blobs, 'blob')}, "
        f"{size_text(report.size)}"
    )
