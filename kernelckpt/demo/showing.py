"""The demonstration as a command shows it: where it works, what it prints, whether it matched."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct, to_builtins
from rich.console import Console

from kernelckpt.demo.demonstration import BARE_SHARE, Demonstration, Settings, demonstrate, surveyed
from kernelckpt.demo.display import Live, check_lines, figures_table, kills_table
from kernelckpt.demo.lives import Run
from kernelckpt.demo.report import REPORT_NAME
from kernelckpt.demo.tree import Tree
from kernelckpt.demo.verdict import Check, Figures, checks, figures
from kernelckpt.errors import UsageError

_WIDTH = 110
"""Characters in a line where there is no terminal."""

_REDONE = "Finished turns that were not yet on disk are run again; nothing that rested on them was let out."
_FAIR = (
    f"Bare asyncio ran one agent in {BARE_SHARE}, with the same kills at the same shares of its work. "
    "No base is written there: that kill came at no chosen place."
)


class Choice(Struct, frozen=True):
    """What the user chose; see the command's options."""

    path: Path | None = None
    packages: int | None = None
    modules: int | None = 1000
    seed: int = 1
    keep: Path | None = None
    json: bool = False


async def show(choice: Choice) -> bool:
    """Demonstrate and print; whether everything matched.

    Raises:
        UsageError: there is nothing to survey, or `keep` names a folder that holds something.
        KernelCkptError: a process ended, failed or hung by itself.
    """
    root = choice.path or Path(sysconfig.get_path("stdlib"))
    settings = Settings(root, choice.seed, choice.modules, choice.packages)
    tree = surveyed(settings)
    with _folder(choice.keep) as folder, Live(Console(stderr=True)) as live:
        live.say(_introduction(tree))
        made = await demonstrate(settings, folder, live.watcher)
    found = checks(made)
    if choice.json:
        print(json.dumps(_facts(made, found), indent=2))  # noqa: T201 - the command's output
    else:
        _print(made, found, choice.keep)
    return not any(check.problem for check in found)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="kernelckpt-demo-") as folder:
            yield Path(folder)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise UsageError(f"the folder {str(keep)!r} is not empty", hint="name a new one")
    yield keep.absolute()


def _introduction(tree: Tree) -> str:
    sampled = "" if tree.modules == tree.found else f" ({tree.found:,} found, taken at even distances)"
    return (
        f"Surveying {tree.root}: {tree.modules:,} modules{sampled} in {tree.folders:,} folders, "
        f"{len(tree.shares):,} agents and their root."
    )


def _figures(made: Demonstration) -> tuple[Figures, Figures, Figures]:
    def of(run: Run, tree: Tree) -> Figures:
        return figures(run, agents=len(tree.shares) + 1, needed=tree.turns)

    return of(made.killed, made.tree), of(made.whole, made.tree), of(made.bare, made.bare_tree)


def _print(made: Demonstration, found: list[Check], keep: Path | None) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    killed, whole, bare = _figures(made)
    console.print(kills_table(made.killed))
    console.print(figures_table(killed, whole, bare))
    missed = [f"A kill was left out: its moment ({moment}) never came." for moment in killed.missed]
    lines = [_REDONE, _FAIR, *missed, *check_lines(found)]
    if keep is not None:
        lines.append(f"States and reports are in {keep}: see {REPORT_NAME} in killed/ and whole/.")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _facts(made: Demonstration, found: list[Check]) -> dict[str, Any]:
    killed, whole, bare = _figures(made)
    return {
        "root": made.tree.root,
        "modules": made.tree.modules,
        "modules_found": made.tree.found,
        "matched": not any(check.problem for check in found),
        "checks": to_builtins(found),
        "runs": {"killed": to_builtins(killed), "whole": to_builtins(whole), "bare": to_builtins(bare)},
        "kills": to_builtins(made.killed.lives),
    }
