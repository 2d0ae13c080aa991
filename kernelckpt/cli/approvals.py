"""`kernelckpt approvals RUN`: the questions that wait for a human."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.load import snapshot_of_run
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import age_text, data_text, shown, time_text
from kernelckpt.cli.keys import keys_at_hand
from kernelckpt.cli.option import (
    DEFAULT_LIMIT,
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    LimitOption,
    PlaintextOption,
    RunArgument,
    StorageOption,
)
from kernelckpt.cli.progress import progress
from kernelckpt.cli.table import Column, first, print_left_out, print_table
from kernelckpt.codec.codec import Codec
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import read_run
from kernelckpt.model.approval import Approval
from kernelckpt.model.json_form import to_json_form
from kernelckpt.model.snapshot import KernelSnapshot

_COLUMNS = (
    Column("TASK"),
    Column("KEY"),
    Column("AGE", is_number=True),
    Column("EXPIRES"),
    Column("PROMPT"),
    Column("PAYLOAD"),
)
_LONGEST = 200


def approvals(
    run: RunArgument,
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    limit: LimitOption = DEFAULT_LIMIT,
    json: JsonOption = False,
) -> None:
    """List the questions that wait for a human.

    They are those of the newest checkpoint, the oldest question first; the run's owner may be alive. What has
    been answered by `approve` or `deny` is listed until a kernel has taken the answer.
    """

    async def work(opened: StorageBackend) -> None:
        codec = Codec(keys_at_hand(key_file, accept_plaintext=accept_plaintext))
        with progress("reading"):
            loaded = await read_run(opened, run, codec=codec)
            found = sorted(_pending(snapshot_of_run(loaded)), key=lambda item: item.asked_at_ms)
        if json:
            print_json(
                {"run": run, "checkpoint": loaded.sequence, "approvals": [_form(item) for item in found]}
            )
        else:
            _print(run, found, limit)

    run_with_storage(storage, work)


def _pending(snapshot: KernelSnapshot) -> Iterator[Approval]:
    for items in snapshot.approvals.values():
        yield from (item for item in items.values() if item.pending)


def _form(item: Approval) -> dict[str, Any]:
    return {
        "task": item.task_id,
        "key": item.key,
        "prompt": item.prompt,
        "payload": to_json_form(item.payload),
        "asked_at_ms": item.asked_at_ms,
        "expires_at_ms": item.expires_at_ms,
        "age_ms": _age_ms(item),
    }


def _age_ms(item: Approval) -> int:
    return max(0, SystemClock().wall_ms() - item.asked_at_ms)


def _print(run: str, found: Sequence[Approval], limit: int) -> None:
    if not found:
        typer.echo(f"run {shown(run)}: nothing waits for a human")
        return
    rows = [
        (
            shown(item.task_id),
            shown(item.key),
            age_text(_age_ms(item)),
            time_text(item.expires_at_ms),
            shown(item.prompt, _LONGEST),
            "" if item.payload is None else shown(data_text(item.payload), _LONGEST),
        )
        for item in first(found, limit)
    ]
    print_table(_COLUMNS, rows)
    print_left_out(len(found) - len(rows), "more questions")
