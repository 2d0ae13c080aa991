"""`kernelckpt demo`: agents survey a source tree while their process is killed again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernelckpt.cli.command import run
from kernelckpt.cli.exit_code import ExitCode
from kernelckpt.cli.option import JsonOption


def demo(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="A Python source tree (default: this interpreter's standard library)."
        ),
    ] = None,
    *,
    packages: Annotated[
        int | None, typer.Option("--packages", min=1, metavar="N", help="Send out at most so many agents.")
    ] = None,
    modules: Annotated[
        int, typer.Option("--modules", min=0, metavar="N", help="Survey at most so many modules; 0 for all.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Decides where the kills come.")] = 1,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep states and reports in this new or empty folder."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Survey a source tree through kills, and compare.

    A root agent sends out an agent for each folder (several for a large one); each parses a module a turn
    and files its findings. The process is killed with SIGKILL at chosen moments and started again until it
    is done; then the survey is run without kills, and the results are compared. The same agents and kills
    on bare asyncio show what would have been lost. Exit code 0 only when everything matched.
    """

    async def work() -> ExitCode:
        from kernelckpt.demo.showing import Choice, show  # noqa: PLC0415 - help must not wait for it

        choice = Choice(path, packages, modules or None, seed, keep, json)
        return ExitCode.OK if await show(choice) else ExitCode.FINDINGS

    run(work)
