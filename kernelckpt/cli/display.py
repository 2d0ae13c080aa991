"""How values look in a terminal: text that cannot play tricks, sizes, times, counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def shown(text: str, longest: int | None = None) -> str:
    """Text on one line, with control and formatting characters escaped.

    Args:
        text: anything a user, a program or a model wrote.
        longest: cut what goes beyond so many characters; a cut ends in "…".
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def shown_lines(text: str) -> str:
    """Text with its line breaks, each line as `shown`."""
    return "\n".join(shown(line.expandtabs(4)) for line in text.splitlines())


def size_text(size: int) -> str:
    """A number of bytes in the unit that fits, as 1.5 MiB."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def time_text(wall_ms: int | None) -> str:
    """Local time of a wall time; "-" when there is none."""
    if not wall_ms:
        return "-"
    try:
        return datetime.fromtimestamp(wall_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"{wall_ms} ms"


def cost_text(cost_micros: int) -> str:
    """Money in the user's currency, from millionths."""
    return f"{cost_micros / 1_000_000:,.6f}".rstrip("0").rstrip(".")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, as "1 task", "2,000 tasks"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def age_text(age_ms: int) -> str:
    """A length of time in the unit that fits, as 90 s, 12 min, 5 h, 3 days."""
    seconds = age_ms // 1000
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:,} {unit}"
    return f"{seconds} s"


def data_text(data: Any) -> str:
    """Plain data on one line; what JSON has no form for is shown all the same."""
    return msgspec.json.encode(data, enc_hook=repr).decode(errors="replace")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
