"""The `kernelckpt` command: what its commands are, and how it ends."""

from __future__ import annotations

import io
import sys
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from kernelckpt.cli.exit_code import EXPLAINED

# "\b" keeps typer from filling the lines of the paragraph after it.
_HELP = f"""Look at the checkpoints of agent kernels; tell a run something; check, prune, copy, delete it.

Storages are URLs such as file:./state; KERNELCKPT_STORAGE names the one to use by default.

\b
{EXPLAINED}"""

COMMANDS = {
    "runs": "List the runs of a storage.",
    "log": "List the checkpoints of a run.",
    "show": "Show the state at a checkpoint.",
    "approvals": "List the questions that wait for a human.",
    "approve": "Say yes to questions of a task.",
    "deny": "Say no to questions of a task.",
    "send": "Send a message to a task.",
    "signal": "Send a signal to a run.",
    "cancel": "End a task and its descendants.",
    "verify": "Read and check all that is kept.",
    "prune": "Remove what no kept checkpoint needs.",
    "rekey": "Encrypt a run anew with the active key.",
    "copy": "Copy a run to another storage.",
    "export": "Copy a run into one file.",
    "import": "Copy the runs of such a file to a storage.",
    "delete": "Delete runs with everything in them.",
    "demo": "Survey a source tree through kills, and compare.",
}
"""What each command does, in the first words of its own help; its module is imported when it is called."""

_NAMES = {"import": "import_runs"}
"""The module and function of a command that Python lets nothing be named after."""


@cache
def _command(name: str) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    python_name = _NAMES.get(name, name)
    alone.command(name)(getattr(import_module(f"kernelckpt.cli.{python_name}"), python_name))
    return typer.main.get_command(alone)


class _Commands(TyperGroup):
    """The commands, each imported when it is needed: most are not, and all together take a while."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _command(cmd_name) if cmd_name in COMMANDS else None

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    name="kernelckpt",
    cls=_Commands,
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
