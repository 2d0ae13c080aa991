"""Tables of plain aligned columns: nothing is cut, so that they can be searched; fast for long ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import typer

T = TypeVar("T")


class Column:
    """A column: its title, and whether its values are numbers."""

    __slots__ = ("is_number", "title")

    def __init__(self, title: str, *, is_number: bool = False) -> None:
        """Numbers are aligned to the right."""
        self.title = title
        self.is_number = is_number


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their titles; cells are printed as they are."""
    from rich.cells import cell_len  # noqa: PLC0415 - help must not wait for it

    cells = [[column.title for column in columns], *rows]
    widths = [max(cell_len(line[place]) for line in cells) for place in range(len(columns))]
    lines = []
    for line in cells:
        padded = []
        for column, text, width in zip(columns, line, widths, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if column.is_number else text + space)
        lines.append("  ".join(padded).rstrip())
    typer.echo("\n".join([typer.style(lines[0], bold=True), *lines[1:]]))


def first(items: Sequence[T], limit: int) -> Sequence[T]:
    """So many items, the first ones; 0 is all."""
    return items[:limit] if limit else items


def print_left_out(left: int, what: str) -> None:
    """Say that a table does not show everything."""
    if left > 0:
        typer.echo(f"... and {left:,} {what}; --limit 0 shows all")
