"""`kernelckpt signal RUN SUMMARY`: a signal to a run, or to one of its tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from kernelckpt.cli.option import (
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    PlaintextOption,
    RunArgument,
    StorageOption,
    WaitOption,
)
from kernelckpt.cli.posting import KeySource, parse_json, post
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.model.command import SendSignal
from kernelckpt.model.signal import RuntimeSignal, SignalSource, SignalType, Urgency


def signal(
    run: RunArgument,
    summary: Annotated[str, typer.Argument(metavar="SUMMARY", help="What happened, in a line.")],
    *,
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", metavar="ID", help="The task it is for; else whoever may take it."),
    ] = None,
    source: Annotated[SignalSource, typer.Option(help="Where it comes from.")] = SignalSource.CUSTOM,
    kind: Annotated[SignalType, typer.Option("--type", help="What it is.")] = SignalType.EVENT,
    urgency: Annotated[Urgency, typer.Option(help="How urgent it is.")] = Urgency.NORMAL,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="More about it.")] = None,
    dedupe_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Of several signals of one key, a kernel accepts one a start."),
    ] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Send a signal to a run.

    It is posted to the run: a kernel that runs does it when it looks next, one that does not at its next
    start, once. With --wait the command says what was decided about it.
    """

    def make() -> SendSignal:
        return SendSignal(
            RuntimeSignal(
                source,
                kind,
                urgency,
                summary,
                payload=None if payload is None else parse_json(payload, "--payload"),
                dedupe_key=dedupe_key,
                timestamp_ms=SystemClock().wall_ms(),
            ),
            task,
        )

    ring = KeySource(key_file, accept_plaintext)
    post(run, make, ring, storage=storage, wait=wait, json=json)
