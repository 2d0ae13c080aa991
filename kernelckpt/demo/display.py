"""What the user sees: progress while it works, and the tables at its end."""

from __future__ import annotations

from itertools import zip_longest
from statistics import median
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from kernelckpt.demo.lives import Life, Run
from kernelckpt.demo.message import Moment
from kernelckpt.demo.verdict import Check, Figures, lost_turns

_QUARTERS = 4


class Live:
    """Progress of the runs, on the error output: bars on a terminal, else a line now and then."""

    def __init__(self, console: Console) -> None:
        """Nothing is shown before `start`."""
        self._console = console
        columns = TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._bars = Progress(*columns, TextColumn("{task.fields[note]}"), console=console)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def watcher(self, title: str, turns: int) -> RunWatcher:
        """A watcher for a run of so many turns."""
        self.say(f"{title}: {turns:,} turns")
        bar = self._bars.add_task(title, total=turns, note="")
        return RunWatcher(self, bar, title, turns)

    def move(self, bar: TaskID, turn: int, note: str) -> None:
        """Bring a bar up to date."""
        self._bars.update(bar, completed=turn, note=note)

    @property
    def has_bars(self) -> bool:
        """Whether bars are shown, so that no lines are needed."""
        return self._console.is_terminal


class RunWatcher:
    """Shows one run."""

    def __init__(self, live: Live, bar: TaskID, title: str, turns: int) -> None:
        """Made by `Live.watcher`."""
        self._live = live
        self._bar = bar
        self._title = title
        self._turns = turns
        self._kills = 0
        self._quarter = 0

    def progress(self, turn: int, ended: int) -> None:
        """Move the bar; without bars, say when another quarter is done."""
        kills = f", {self._kills} kills" if self._kills else ""
        self._live.move(self._bar, turn, f"{ended} agents done{kills}")
        quarter = turn * _QUARTERS // self._turns
        if quarter > self._quarter and not self._live.has_bars:
            self._live.say(f"{self._title}: turn {turn:,} of {self._turns:,}")
        self._quarter = max(quarter, self._quarter)

    def killed(self, life: Life) -> None:
        """Say what was hit."""
        self._kills += 1
        assert life.moment is not None
        self._live.say(f"  SIGKILL {self._kills}: {life.moment.value} (turn {life.turn:,})")


def kills_table(run: Run) -> Table:
    """What each kill of the kernel hit, and how the next start came back from it."""
    table = Table(title="Each kill, and how the kernel came back", title_justify="left")
    table.add_column("killed")
    for title in ("at turn", "back at turn", "turns to run again", "in doubt", "restore ms"):
        table.add_column(title, justify="right")
    lost = list(lost_turns(run.lives))
    for life, after, gone in zip_longest(run.lives[:-1], run.lives[1:], lost):
        back = after.restored
        assert life.moment is not None
        if back is None:
            table.add_row(life.moment.value, *("-",) * 5)
            continue
        again = f"{back.interrupted + gone}"
        doubt = f"{after.in_doubt}" + (f" ({after.arrived} arrived)" if after.arrived else "")
        before = "-" if life.moment is Moment.RESTORE else f"{life.turn:,}"
        table.add_row(life.moment.value, before, f"{back.turn:,}", again, doubt, f"{back.seconds * 1000:.0f}")
    return table


def figures_table(killed: Figures, whole: Figures, bare: Figures) -> Table:
    """The three runs side by side."""
    table = Table(title="The three runs", title_justify="left")
    table.add_column("")
    for title in ("kernel, killed", "kernel, uninterrupted", "bare asyncio, killed"):
        table.add_column(title, justify="right")
    columns = [_cells(killed), _cells(whole), _cells(bare)]
    for row in zip(_ROWS, *columns, strict=True):
        table.add_row(*row)
    return table


_ROWS = (
    "agents",
    "turns the survey takes",
    "turns begun",
    "turns repeated",
    "... for 100 needed",
    "finished turns lost",
    "kills",
    "findings filed",
    "... more than once",
    "filings in doubt",
    "tokens",
    "checkpoints (bases)",
    "bytes per turn",
    "restore ms (shortest, median, longest)",
    "hook held the loop, longest ms",
    "seconds",
)


def _cells(each: Figures) -> tuple[str, ...]:
    is_kept = each.checkpoints > 0
    return (
        f"{each.agents:,}",
        f"{each.needed:,}",
        f"{each.begun:,}",
        f"{each.repeated:,}",
        f"{100 * each.repeated / each.needed:.1f}",
        f"{each.lost:,}",
        f"{each.kills}",
        f"{each.findings:,}",
        f"{each.twice:,}",
        f"{each.in_doubt} ({each.arrived} had arrived)" if is_kept else "nobody knows",
        f"{each.tokens:,}",
        f"{each.checkpoints:,} ({each.bases})" if is_kept else "-",
        f"{each.bytes_per_turn:,}" if is_kept else "-",
        _restores(each.restore_seconds),
        f"{each.longest_hold_seconds * 1000:.1f}" if is_kept else "-",
        f"{each.seconds:.1f}",
    )


def _restores(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    return ", ".join(f"{1000 * value:.0f}" for value in (min(seconds), median(seconds), max(seconds)))


def check_lines(checks: list[Check]) -> list[str]:
    """The verdict, a line a check."""
    return [f"{'FAILED' if check.problem else 'ok    '} {check.name}{_because(check)}" for check in checks]


def _because(check: Check) -> str:
    return f": {check.problem}" if check.problem else ""
