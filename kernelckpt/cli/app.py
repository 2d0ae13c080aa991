"""The `kernelckpt` command: what its commands are, and how it ends."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from kernelckpt.cli.demo import demo
from kernelckpt.cli.exit_code import EXPLAINED
from kernelckpt.cli.log import log
from kernelckpt.cli.prune import prune
from kernelckpt.cli.rekey import rekey
from kernelckpt.cli.runs import runs
from kernelckpt.cli.show import show
from kernelckpt.cli.verify import verify

# "\b" keeps typer from filling the lines of the paragraph after it.
_HELP = f"""Look at the checkpoints of agent kernels, check them, prune them; see a demo.

Storages are URLs such as file:./state; KERNELCKPT_STORAGE names the one to use by default.

\b
{EXPLAINED}"""

app = typer.Typer(
    name="kernelckpt",
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (runs, log, show, verify, prune, rekey, demo):
    app.command()(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from kernelckpt import __version__  # noqa: PLC0415 - the package is whole only by now

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; ends the process with one of the exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="kernelckpt")
