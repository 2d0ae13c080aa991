"""`kernelckpt show RUN[@SEQ]`: the state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.load import snapshot_of_run
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import cost_text, counted, shown, time_text
from kernelckpt.cli.keys import keys_at_hand
from kernelckpt.cli.option import (
    DEFAULT_LIMIT,
    DEFAULT_STORAGE,
    CheckpointArgument,
    JsonOption,
    KeyFileOption,
    LimitOption,
    PlaintextOption,
    StorageOption,
)
from kernelckpt.cli.progress import progress
from kernelckpt.cli.run_reference import RunReference
from kernelckpt.cli.table import Column, first, print_left_out, print_table
from kernelckpt.cli.task_view import find_row, print_task, state_text, task_form, wait_text
from kernelckpt.codec.codec import Codec
from kernelckpt.log import LoadedRun, read_run
from kernelckpt.model.approval import Approval
from kernelckpt.model.snapshot import KernelSnapshot

_TASK_COLUMNS = (
    Column("TASK"),
    Column("PROGRAM"),
    Column("STATE"),
    Column("WAITS FOR"),
    Column("TURNS", is_number=True),
    Column("TOKENS", is_number=True),
)
_APPROVAL_COLUMNS = (Column("TASK"), Column("QUESTION"), Column("ASKED"), Column("EXPIRES"), Column("PROMPT"))
_LONGEST_PROMPT = 200


def show(
    run: CheckpointArgument,
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    task: Annotated[
        str | None, typer.Option("--task", "-t", metavar="ID", help="Show one task with its context.")
    ] = None,
    limit: LimitOption = DEFAULT_LIMIT,
    json: JsonOption = False,
) -> None:
    """Show the state at a checkpoint.

    That is its tasks, open questions and totals; with --task one task, its messages and what is open.
    --json prints the whole snapshot, or all of that task. --limit counts tasks, or the newest messages.
    """
    wanted = RunReference.parse(run)

    async def work(opened: StorageBackend) -> None:
        codec = Codec(keys_at_hand(key_file, accept_plaintext=accept_plaintext))
        with progress("reading"):
            loaded = await read_run(opened, wanted.run_id, wanted.at, codec=codec)
            snapshot = snapshot_of_run(loaded)
        row = None if task is None else find_row(snapshot, task)
        if json:
            print_json(snapshot.to_dict() if row is None else task_form(snapshot, row))
            return
        _print_head(loaded)
        if row is not None:
            print_task(snapshot, row, limit)
        else:
            _print_tasks(snapshot, limit)
            _print_approvals(snapshot, limit)
            _print_totals(snapshot)

    run_with_storage(storage, work)


def _print_head(loaded: LoadedRun) -> None:
    typer.echo(
        f"run {shown(loaded.run_id)}, checkpoint {loaded.sequence}, saved {time_text(loaded.wall_ms)}, "
        f"kernel turn {loaded.turn:,}\n"
    )


def _print_tasks(snapshot: KernelSnapshot, limit: int) -> None:
    if not snapshot.tasks:
        typer.echo("no tasks")
        return
    rows = [
        (
            shown(row.id),
            shown(row.program),
            state_text(row),
            wait_text(row),
            f"{row.turns:,}",
            f"{row.total_tokens:,}",
        )
        for row in first(snapshot.tasks, limit)
    ]
    print_table(_TASK_COLUMNS, rows)
    print_left_out(len(snapshot.tasks) - len(rows), "more tasks")


def _print_approvals(snapshot: KernelSnapshot, limit: int) -> None:
    pending = [item for items in snapshot.approvals.values() for item in items.values() if item.pending]
    if not pending:
        return
    typer.echo("\npending approvals")
    print_table(_APPROVAL_COLUMNS, _approval_rows(first(pending, limit)))
    print_left_out(len(pending) - limit if limit else 0, "more questions")


def _approval_rows(items: Iterable[Approval]) -> Iterable[tuple[str, ...]]:
    for item in items:
        yield (
            shown(item.task_id),
            shown(item.key),
            time_text(item.asked_at_ms),
            time_text(item.expires_at_ms),
            shown(item.prompt, _LONGEST_PROMPT),
        )


def _print_totals(snapshot: KernelSnapshot) -> None:
    live = sum(not row.state.is_terminal() for row in snapshot.tasks)
    cost = snapshot.totals.cost_micros if snapshot.totals is not None else 0
    typer.echo(
        f"\n{counted(len(snapshot.tasks), 'task')}, {live:,} of them live; "
        f"{counted(snapshot.total_tokens, 'token')}, cost {cost_text(cost)}; "
        f"{counted(len(snapshot.queued_signals), 'queued signal')}"
    )
