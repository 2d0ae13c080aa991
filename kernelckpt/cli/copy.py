"""`kernelckpt copy RUN FROM TO`: a run, as it is, in another storage."""

from __future__ import annotations

from typing import Annotated

import typer

from kernelckpt.cli.command import run
from kernelckpt.cli.copying import INTERRUPTED, copy_one
from kernelckpt.cli.option import JsonOption, RunArgument
from kernelckpt.storage import open_storage


def copy(
    run_id: RunArgument,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The storage it is in, as file:./state.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The storage to copy it to.")],
    *,
    json: JsonOption = False,
) -> None:
    """Copy a run to another storage.

    All its checkpoints and its inbox, byte by byte, encrypted or not: no key is needed. Its kernel may run
    meanwhile. Called again, it goes on where it was interrupted, or copies what is new. Every byte is read
    back and compared before the copy counts; until then nobody can start from it.
    """

    async def work() -> None:
        async with open_storage(source) as giving, open_storage(target) as taking:
            await copy_one(giving, taking, run_id, json=json)

    run(work, interrupted=INTERRUPTED)
