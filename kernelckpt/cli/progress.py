"""Progress of long work: on the error output, and only where somebody is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[int, int], None]
"""Told how many steps are done, and how many there are."""


@contextmanager
def progress(text: str) -> Iterator[Step]:
    """Show a bar while the block runs, and take it away after it; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield _unseen
        return
    from rich.console import Console  # noqa: PLC0415 - help must not wait for it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=None)

        def step(done: int, steps: int) -> None:
            bar.update(task, completed=done, total=steps)

        yield step


def _unseen(done: int, steps: int) -> None:
    """Nobody is watching."""
