"""The command line as a target: whatever is written there, it ends with an exit code that it explains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TypeAlias

from mutation import PIECES, Pick, mutated_text, one_of
from seeds import GOLDEN
from targets import Target
from typer.main import get_command

from kernelckpt.cli.app import app
from kernelckpt.cli.exit_code import ExitCode
from kernelckpt.errors import UsageError

Line: TypeAlias = tuple[str, ...]

COMMAND = get_command(app)
STORAGE = f"file:{max(GOLDEN.glob('v*/life')) / 'storage'}"
LINES: list[Line] = [
    ("show", "life"),
    ("show", "life@3", "--json"),
    ("show", "life", "--task", "lead", "--limit", "3"),
    ("log", "life", "--limit", "2"),
    ("verify", "life"),
    ("runs", "--json"),
]
"""Only such as read: a wrong line must not make or remove anything."""


def commands() -> Iterator[Target]:
    """Commands with one or two words changed; their storage is one that is there, or one that is not."""
    seeds = [(*line, "--storage", STORAGE) for line in LINES]
    yield Target("command line", seeds, _one_changed, _call, 0.002)


def _one_changed(pick: Pick, line: Line) -> Line:
    words = list(line)
    at = 1 + int(pick() * (len(words) - 3))
    words[at] = mutated_text(pick, words[at]) if pick() < 0.8 else one_of(pick, PIECES)
    if pick() < 0.3:
        words[-1] = mutated_text(pick, one_of(pick, ("memory:", "file:./none", "s3://bucket")))
    return tuple(words)


def _call(line: Line) -> None:
    told = StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        try:
            code = COMMAND.main(list(line), "kernelckpt", standalone_mode=True)
        except SystemExit as left:
            code = left.code
    assert code in set(ExitCode), code
    assert "Traceback" not in told.getvalue()
    assert "\x1b[2J" not in told.getvalue(), "what was written is not let loose on the terminal"
    if code:
        raise UsageError(f"exit code {code}", hint="it is explained in the help")
