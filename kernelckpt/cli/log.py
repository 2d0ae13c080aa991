"""`kernelckpt log RUN`: the checkpoints of a run, from their metadata alone."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from msgspec.structs import asdict

from kernelckpt.abc import StorageBackend
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import shown, size_text, time_text
from kernelckpt.cli.keys import keys_at_hand
from kernelckpt.cli.option import (
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    LimitOption,
    PlaintextOption,
    RunArgument,
    StorageOption,
)
from kernelckpt.cli.progress import progress
from kernelckpt.cli.table import Column, print_table
from kernelckpt.codec.codec import Codec
from kernelckpt.log import CheckpointInfo, list_checkpoints

_COLUMNS = (
    Column("CHECKPOINT", is_number=True),
    Column("SAVED"),
    Column("KIND"),
    Column("TURN", is_number=True),
    Column("CHANGES", is_number=True),
    Column("SIZE", is_number=True),
    Column("TRIGGER"),
    Column("EPOCH", is_number=True),
    Column("DAMAGE"),
)
_NEWEST = 50


def log(
    run: RunArgument,
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    limit: LimitOption = _NEWEST,
    json: JsonOption = False,
) -> None:
    """List the checkpoints of a run.

    Newest first; nothing but their metadata is read.
    """

    async def work(opened: StorageBackend) -> None:
        codec = Codec(keys_at_hand(key_file, accept_plaintext=accept_plaintext))
        with progress("reading checkpoints"):
            found = await list_checkpoints(opened, run, newest=limit + 1 if limit else None, codec=codec)
        newest_first = found[::-1]
        more = bool(limit) and len(found) > limit
        kept = newest_first[:limit] if limit else newest_first
        if json:
            print_json({"storage": opened.name, "run": run, "checkpoints": _facts(kept), "more": more})
        else:
            _print(run, kept, more=more)

    run_with_storage(storage, work)


def _facts(infos: Sequence[CheckpointInfo]) -> list[dict[str, object]]:
    facts = [asdict(info) for info in infos]
    for each in facts:
        del each["commit"]  # a number within the process that wrote it
    return facts


def _print(run: str, infos: Sequence[CheckpointInfo], *, more: bool) -> None:
    if not infos:
        typer.echo(f"run {shown(run)} has no checkpoint yet")
        return
    print_table(_COLUMNS, [_row(info) for info in infos])
    if more:
        typer.echo("... and older ones; --limit 0 shows all")


def _row(info: CheckpointInfo) -> tuple[str, ...]:
    return (
        str(info.sequence),
        time_text(info.wall_ms),
        info.kind,
        f"{info.turn:,}",
        f"{info.changes:,}",
        size_text(info.size),
        shown(info.trigger),
        str(info.epoch),
        shown(info.damage),
    )
