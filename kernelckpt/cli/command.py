"""How every command runs: one event loop, one storage, errors as messages, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import anyio
import typer

from kernelckpt.abc import StorageBackend
from kernelckpt.cli.display import shown_lines
from kernelckpt.cli.exit_code import ExitCode, exit_code_of
from kernelckpt.errors import KernelCkptError, RunOwnedError
from kernelckpt.storage import open_storage

Work = Callable[[StorageBackend], Awaitable[ExitCode | None]]
"""What a command does with its storage; None is OK."""

_OWNED = "stop its owner, or wait for it to end; a command does not take a run over"


def run_with_storage(url: str, work: Work, *, interrupted: str = "interrupted") -> NoReturn:
    """Open a storage, do the work, close it, and leave with the exit code; see `run`."""
    do_with_storage(url, work, interrupted=interrupted)
    raise typer.Exit(ExitCode.OK)


def do_with_storage(url: str, work: Work, *, interrupted: str = "interrupted") -> None:
    """`run_with_storage`, but go on when all is well."""

    async def with_storage() -> ExitCode | None:
        async with open_storage(url) as storage:
            return await work(storage)

    if code := _run(with_storage, interrupted):
        raise typer.Exit(code)


def run(work: Callable[[], Awaitable[ExitCode | None]], *, interrupted: str = "interrupted") -> NoReturn:
    """Do work that opens what it needs, and leave with the exit code; `interrupted` is said after Ctrl-C."""
    raise typer.Exit(_run(work, interrupted) or ExitCode.OK)


def fail(error: KernelCkptError) -> NoReturn:
    """Leave with an error that shows before anything is opened."""
    print_error(error)
    raise typer.Exit(exit_code_of(error))


def print_json(data: Any) -> None:
    """Print data as JSON that also an output without Unicode can carry."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    typer.echo(json.dumps(data, indent=2, ensure_ascii=not is_unicode))


def hint_of(error: KernelCkptError) -> str:
    """What a user of the command line can do about an error."""
    return _OWNED if isinstance(error, RunOwnedError) else error.hint


def print_error(error: KernelCkptError) -> None:
    """Say what is wrong, and what can be done about it."""
    typer.echo(f"{typer.style('error:', bold=True)} {shown_lines(error.message)}", err=True)
    if hint := hint_of(error):
        typer.echo(f"{typer.style('hint:', bold=True)} {shown_lines(hint)}", err=True)


def _run(work: Callable[[], Awaitable[ExitCode | None]], interrupted: str) -> ExitCode | None:
    try:
        code = anyio.run(work)
        sys.stdout.flush()
    except KernelCkptError as error:
        print_error(error)
        return exit_code_of(error)
    except KeyboardInterrupt:
        typer.echo(interrupted, err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not fail once more when the interpreter flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OUTPUT_CLOSED
    return code
