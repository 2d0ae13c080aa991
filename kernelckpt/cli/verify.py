"""`kernelckpt verify RUN`: everything that is kept of a run, read and checked."""

from __future__ import annotations

from typing import Any

import typer
from msgspec import to_builtins

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.verify import VerifyReport
from kernelckpt.checkpoint.verify import verify as verify_run
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import cost_text, counted, shown, size_text
from kernelckpt.cli.exit_code import ExitCode
from kernelckpt.cli.option import (
    DEFAULT_LIMIT,
    DEFAULT_STORAGE,
    CheckpointArgument,
    JsonOption,
    LimitOption,
    StorageOption,
)
from kernelckpt.cli.progress import progress
from kernelckpt.cli.run_reference import RunReference
from kernelckpt.cli.table import first, print_left_out


def verify(
    run: CheckpointArgument,
    *,
    storage: StorageOption = DEFAULT_STORAGE,
    limit: LimitOption = DEFAULT_LIMIT,
    json: JsonOption = False,
) -> None:
    """Read and check all that is kept.

    Digests, chains, bases, every record, and whether the records fit together: parents, waits, totals.
    Nothing is changed, and the run's owner may be alive. The exit code is 1 when something is wrong.
    """
    wanted = RunReference.parse(run)

    async def work(opened: StorageBackend) -> ExitCode:
        with progress("verifying") as step:
            report = await verify_run(opened, wanted.run_id, wanted.at, on_progress=step)
        if json:
            print_json(_facts(report))
        else:
            _print(report, limit)
        return ExitCode.OK if report.ok else ExitCode.FINDINGS

    run_with_storage(storage, work)


def _facts(report: VerifyReport) -> dict[str, Any]:
    facts: dict[str, Any] = to_builtins(report)
    return {"run": facts.pop("run_id"), "ok": report.ok, **facts}


def _print(report: VerifyReport, limit: int) -> None:
    for finding in first(report.findings, limit):
        typer.echo(
            f"{typer.style(finding.kind.value, bold=True)} {shown(finding.where)}: {shown(finding.text)}"
        )
    print_left_out(len(report.findings) - limit if limit else 0, "more findings")
    for note in report.notes:
        typer.echo(f"note: {shown(note)}")
    typer.echo(
        f"run {shown(report.run_id)} as of checkpoint {report.sequence}: "
        f"{counted(report.checkpoints, 'checkpoint')}, {counted(report.bases, 'base')} compared, "
        f"{counted(report.records, 'record')}, {counted(report.messages, 'message')}, "
        f"{size_text(report.bytes_read)} read"
    )
    typer.echo(
        f"{counted(report.tasks, 'task')}, {report.live:,} of them live; turn {report.turn:,}, "
        f"{counted(report.total_tokens, 'token')}, cost {cost_text(report.cost_micros)}"
    )
    typer.echo("nothing wrong" if report.ok else f"{counted(len(report.findings), 'finding')}")
