"""`kernelckpt runs`: the runs of a storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.cli.command import print_error, print_json, run_with_storage
from kernelckpt.cli.display import counted, shown, time_text
from kernelckpt.cli.exit_code import ExitCode
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
from kernelckpt.errors import (
    DamagedRunsError,
    EncryptionError,
    FormatError,
    KernelCkptError,
    NotFoundError,
)
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
    """List the runs of a storage.

    One that cannot be read hides no other: it is listed with the reason, and the exit code is 5.
    """

    async def work(opened: StorageBackend) -> ExitCode:
        codec = Codec(keys_at_hand(key_file, accept_plaintext=accept_plaintext))
        names, damaged = await _names(opened)
        found = []
        with progress("reading runs") as step:
            shown_names = first(names, limit)
            for index, name in enumerate(shown_names):
                found += await _facts(opened, name, codec, damaged)
                step(index + 1, len(shown_names))
        left = len(names) - len(shown_names)
        if json:
            print_json({"storage": opened.name, "runs": found, "more": left})
        else:
            _print(opened.name, found, left)
        for error in damaged.values():
            print_error(error)
        return ExitCode.CORRUPT if damaged else ExitCode.OK

    run_with_storage(storage, work)


async def _names(storage: StorageBackend) -> tuple[Sequence[str], dict[str, KernelCkptError]]:
    """All runs, and what is wrong with those among them that cannot be listed."""
    try:
        return await storage.list_runs(), {}
    except DamagedRunsError as error:
        return sorted([*error.runs, *error.damaged]), dict(error.damaged)


async def _facts(
    storage: StorageBackend, run_id: str, codec: Codec, damaged: dict[str, KernelCkptError]
) -> list[dict[str, Any]]:
    """One run; none if it was deleted meanwhile. One that turns out to be damaged is added to the others."""
    newest = None
    try:
        note = damaged[run_id].message if run_id in damaged else ""
        if not note:
            newest = next(iter(await list_checkpoints(storage, run_id, newest=1, codec=codec)), None)
            note = await _note(storage, run_id) or (newest.damage if newest else "")
    except NotFoundError:
        if run_id not in (await _names(storage))[0]:
            return []
        note = "its deletion was begun: `kernelckpt delete` goes on with it"
    except EncryptionError as error:
        note = error.message
    except FormatError as error:
        damaged[run_id] = error
        note = error.message
    return [{"run": run_id, **_newest_facts(newest), "note": note, "damaged": run_id in damaged}]


async def _note(storage: StorageBackend, run_id: str) -> str:
    is_unfinished = any(blob.name == MARK for blob in await storage.list_blobs(run_id))
    return "copying it to here was not finished" if is_unfinished else ""


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
