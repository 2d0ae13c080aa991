"""`kernelckpt runs`: the runs of a storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import counted, shown, time_text
from kernelckpt.cli.keys import keys_at_hand
from kernelckpt.cli.option import (
    DEFAULT_LIMIT,
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    LimitOption,
    PlaintextOption,
    StorageOption,
)
from kernelckpt.cli.progress import progress
from kernelckpt.cli.table import Column, first, print_left_out, print_table
from kernelckpt.codec.codec import Codec
from kernelckpt.errors import EncryptionError, FormatError, NotFoundError
from kernelckpt.log import CheckpointInfo, list_checkpoints
from kernelckpt.log.unfinished_copy import MARK

_COLUMNS = (
    Column("RUN"),
    Column("CHECKPOINT", is_number=True),
    Column("SAVED"),
    Column("TURNS", is_number=True),
    Column("NOTE"),
)


def runs(
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    limit: LimitOption = DEFAULT_LIMIT,
    json: JsonOption = False,
) -> None:
    """List the runs of a storage."""

    async def work(opened: StorageBackend) -> None:
        codec = Codec(keys_at_hand(key_file, accept_plaintext=accept_plaintext))
        names = await opened.list_runs()
        found = []
        with progress("reading runs") as step:
            shown_names = first(names, limit)
            for index, name in enumerate(shown_names):
                found += await _facts(opened, name, codec)
                step(index + 1, len(shown_names))
        left = len(names) - len(shown_names)
        if json:
            print_json({"storage": opened.name, "runs": found, "more": left})
        else:
            _print(opened.name, found, left)

    run_with_storage(storage, work)


async def _facts(storage: StorageBackend, run_id: str, codec: Codec) -> list[dict[str, Any]]:
    """One run; none if it was deleted meanwhile. A run that cannot be read does not hide the others."""
    note, newest = "", None
    try:
        newest = next(iter(await list_checkpoints(storage, run_id, newest=1, codec=codec)), None)
        if any(blob.name == MARK for blob in await storage.list_blobs(run_id)):
            note = "copying it to here was not finished"
    except NotFoundError:
        return []
    except (FormatError, EncryptionError) as error:
        note = error.message
    return [{"run": run_id, **_newest_facts(newest), "note": note or (newest.damage if newest else "")}]


def _newest_facts(newest: CheckpointInfo | None) -> dict[str, int | None]:
    if newest is None:
        return {"sequence": 0, "wall_ms": None, "turn": 0}
    return {"sequence": newest.sequence, "wall_ms": newest.wall_ms, "turn": newest.turn}


def _print(name: str, found: Sequence[dict[str, Any]], left: int) -> None:
    if not found and not left:
        typer.echo(f"no runs in {shown(name)}")
        return
    rows = [
        (
            shown(run["run"]),
            str(run["sequence"] or "-"),
            time_text(run["wall_ms"]),
            f"{run['turn']:,}",
            shown(run["note"]),
        )
        for run in found
    ]
    print_table(_COLUMNS, rows)
    print_left_out(left, counted(left, "more run", "more runs").partition(" ")[2])
