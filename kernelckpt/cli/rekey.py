"""`kernelckpt rekey RUN`: writes a run anew under the active key."""

from __future__ import annotations

from typing import Annotated

import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.rekey import RekeyReport
from kernelckpt.checkpoint.rekey import rekey as rekey_run
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import shown, size_text
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
from kernelckpt.errors import UsageError


def rekey(
    run: RunArgument,
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    compression: Annotated[
        int | None, typer.Option(min=1, max=22, metavar="LEVEL", help="Compress with zstandard.")
    ] = None,
    remove_set_aside: Annotated[
        bool,
        typer.Option(
            "--remove-set-aside", help="Remove also what a fall-back set aside, and what is damaged."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Encrypt a run anew with the active key.

    Its newest state is written under the first key of the ring, and all that was written before is removed:
    earlier checkpoints are gone, and the other keys are needed no more. Nobody may own the run meanwhile.
    """

    async def work(opened: StorageBackend) -> None:
        keys = keys_at_hand(key_file, accept_plaintext=accept_plaintext)
        if keys is None:
            raise UsageError("no keys", hint="--key-file FILE, or set KERNELCKPT_KEYS")
        with progress("writing"):
            report = await rekey_run(
                opened, run, keys, compression=compression, remove_set_aside=remove_set_aside
            )
        if json:
            print_json(
                {
                    "run": run,
                    "checkpoint": report.checkpoint.sequence,
                    "key": report.checkpoint.key,
                    "removed": report.removed_bytes,
                    "keys_in_use": list(report.key_ids),
                }
            )
        else:
            _print(run, report)

    run_with_storage(storage, work)


def _print(run: str, report: RekeyReport) -> None:
    checkpoint = report.checkpoint
    typer.echo(
        f"run {shown(run)}: checkpoint {checkpoint.sequence} holds all of it under key {checkpoint.key}, "
        f"{size_text(checkpoint.size)}; {size_text(report.removed_bytes)} removed"
    )
    others = [key_id or "none" for key_id in report.key_ids if key_id != checkpoint.key]
    if others:
        typer.echo(
            f"note: what a fall-back set aside is still under: {', '.join(others)} (--remove-set-aside)"
        )
