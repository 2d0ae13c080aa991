"""`kernelckpt verify RUN`: everything that is kept of a run, read and checked."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from msgspec import to_builtins

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.finding import Finding
from kernelckpt.checkpoint.verify import verify as verify_run
from kernelckpt.checkpoint.verify_report import VerifyReport
from kernelckpt.cli.command import print_json, run_with_storage
from kernelckpt.cli.display import cost_text, counted, shown, size_text
from kernelckpt.cli.exit_code import ExitCode
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
from kernelckpt.cli.scheduler_factory import make_scheduler
from kernelckpt.cli.table import first, print_left_out


def verify(
    run: CheckpointArgument,
    *,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Check the state of every checkpoint, not only of the newest. Each is read from the base "
            "before it on: for a run of many checkpoints this takes long.",
        ),
    ] = False,
    app: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Import your code, call the function, and say whether the Scheduler it returns could go on "
            "from the state. It is not entered, and no program is run.",
        ),
    ] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    limit: LimitOption = DEFAULT_LIMIT,
    json: JsonOption = False,
) -> None:
    """Read and check all that is kept.

    Digests, chains, bases, every record, and whether the records fit together: parents, waits, calls,
    questions, phases, timers, totals. With --app also whether your program has all that the state needs.
    Nothing is changed, and the run's owner may be alive. The exit code is 1 when something is wrong.
    """
    wanted = RunReference.parse(run)

    async def work(opened: StorageBackend) -> ExitCode:
        keys = keys_at_hand(key_file, accept_plaintext=accept_plaintext)
        scheduler = None if app is None else make_scheduler(app)
        with progress("verifying") as step:
            report = await verify_run(
                opened,
                wanted.run_id,
                wanted.at,
                scheduler=scheduler,
                all_checkpoints=every,
                on_progress=step,
                keys=keys,
            )
        if json:
            print_json(_facts(report))
        else:
            _print(report, limit, every=every)
        return ExitCode.OK if report.ok else ExitCode.FINDINGS

    run_with_storage(storage, work)


def _facts(report: VerifyReport) -> dict[str, Any]:
    facts: dict[str, Any] = to_builtins(report)
    return {"run": facts.pop("run_id"), "ok": report.ok, **facts}


def _print(report: VerifyReport, limit: int, *, every: bool) -> None:
    for finding in first(report.findings, limit):
        place = _checkpoint_of(finding, report.run_id) if every else ""
        typer.echo(f"{typer.style(finding.kind.value, bold=True)} {place}{shown(finding.where)}: ", nl=False)
        typer.echo(shown(finding.text))
    print_left_out(len(report.findings) - limit if limit else 0, "more findings")
    for note in report.notes:
        typer.echo(f"note: {shown(note)}")
    typer.echo(
        f"run {shown(report.run_id)} as of checkpoint {report.sequence}: "
        f"{counted(report.checkpoints, 'checkpoint')}, {counted(report.states, 'state')} checked, "
        f"{counted(report.bases, 'base')} compared, "
        f"{counted(report.records, 'record')}, {counted(report.messages, 'message')}, "
        f"{size_text(report.bytes_read)} read and checked"
    )
    typer.echo(
        f"{counted(report.tasks, 'task')}, {report.live:,} of them live; turn {report.turn:,}, "
        f"{counted(report.total_tokens, 'token')}, cost {cost_text(report.cost_micros)}"
    )
    typer.echo("nothing wrong" if report.ok else f"{counted(len(report.findings), 'finding')}")


def _checkpoint_of(finding: Finding, run_id: str) -> str:
    """The checkpoint that a finding is about, as the commands take it."""
    return f"{shown(run_id)}@{finding.checkpoint} " if finding.checkpoint else ""
