"""Messages: distinct texts of 1 KiB out of invented words, the same in every run."""

from __future__ import annotations

from random import Random

TEXT_BYTES = 1024
_POOL = 512


def _invent() -> list[str]:
    random = Random(5)  # the same texts in every run
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(random.choices(letters, k=random.randint(2, 10))) for _ in range(4000)]
    return [" ".join(random.choices(words, k=TEXT_BYTES // 2))[:TEXT_BYTES] for _ in range(_POOL)]


_TEXTS = _invent()


def text(number: int) -> str:
    """A text of 1 KiB; the next ones differ."""
    return _TEXTS[number % _POOL]


def distinct_text(number: int) -> str:
    """A text of 1 KiB that shares no memory with any other, as those of live agents do not."""
    return text(number)[:-8] + f"{number:8}"
