"""The options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

StorageOption: TypeAlias = Annotated[
    str,
    typer.Option("--storage", "-s", envvar="KERNELCKPT_STORAGE", metavar="URL", help="Where the runs are."),
]
DEFAULT_STORAGE = "file:./state"

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON for machines; its keys are stable.")
]
LimitOption: TypeAlias = Annotated[
    int, typer.Option("--limit", "-n", min=0, metavar="N", help="Show at most so many; 0 for all.")
]
DEFAULT_LIMIT = 100

KeyFileOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="KERNELCKPT_KEY_FILE",
        metavar="FILE",
        help="Keys of encrypted runs: lines id:base64, the active one first. Else KERNELCKPT_KEYS is read.",
    ),
]

PlaintextOption: TypeAlias = Annotated[
    bool, typer.Option("--accept-plaintext", help="With keys: read what is not encrypted, too.")
]

RunArgument: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
CheckpointArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RUN[@SEQ]", help="The run's id, and the number of a checkpoint (default: the newest)."
    ),
]
TaskArgument: TypeAlias = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.")]

WaitOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--wait",
        "-w",
        min=0.0,
        metavar="SECONDS",
        help="Wait so long for the run's kernel to say what came of it; else it is only posted.",
    ),
]
