"""What the commands that copy runs have in common: a bar, what is said at the end, and how to go on."""

from __future__ import annotations

from typing import Any

import typer
from msgspec import to_builtins

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.copy_run import CopyReport, copy_run
from kernelckpt.cli.command import print_json
from kernelckpt.cli.display import counted, shown, size_text
from kernelckpt.cli.progress import progress

INTERRUPTED = """\
interrupted: what is copied is kept, and the same command goes on from there
until then nobody can start from the copy; the source is as it was"""


async def copy_one(source: StorageBackend, target: StorageBackend, run: str, *, json: bool) -> None:
    """Copy a run, and say what came of it."""
    report = await copy_shown(source, target, run)
    if json:
        print_json({"from": source.name, "to": target.name, **copy_facts(report)})
    else:
        print_copied(report)
        print_notes(target)


async def copy_shown(source: StorageBackend, target: StorageBackend, run: str) -> CopyReport:
    """Copy a run, with a bar."""
    with progress(f"copying {shown(run, 40)}") as step:
        return await copy_run(source, target, run, on_progress=step)


def copy_facts(report: CopyReport) -> dict[str, Any]:
    """The report as JSON has it."""
    facts: dict[str, Any] = to_builtins(report)
    return {"run": facts.pop("run_id"), **facts}


def print_copied(report: CopyReport) -> None:
    """Say in a line what is there now, and what of it is new."""
    held = (
        counted(report.entries, "entry", "entries"),
        counted(report.blobs, "blob"),
        counted(report.messages, "message"),
        size_text(report.size),
    )
    if report.new_size == report.size:
        new = "all of it copied"
    elif report.new_size:
        new = f"{size_text(report.new_size)} of it copied now"
    else:
        new = "nothing was new"
    line = f"run {shown(report.run_id)} up to checkpoint {report.newest}: {', '.join(held)}"
    typer.echo(f"{line}; {new}, compared byte by byte")


def print_notes(storage: StorageBackend) -> None:
    """Say what somebody should know who relies on what is kept there."""
    for note in storage.notes:
        typer.echo(f"note: {shown(note)}")
