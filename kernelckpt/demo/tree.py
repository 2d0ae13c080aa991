"""The tree to survey: its modules, shared out among agents in an order that never varies."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from kernelckpt.errors import UsageError

_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__"}
"""Folders that are no part of a source tree."""


class Share(Struct, frozen=True):
    """What one agent surveys: a folder, or a part of a large one.

    Attributes:
        name: as shown, like `asyncio (2/5)`.
        modules: paths relative to the tree, as the file system spells them.
    """

    name: str
    modules: tuple[bytes, ...]


class Tree(Struct, frozen=True):
    """A tree and who surveys what.

    Attributes:
        root: the folder.
        found: modules found.
        folders: folders that hold some.
        shares: what is surveyed.
        unreadable: folders that could not be looked into.
    """

    root: str
    found: int
    folders: int
    shares: tuple[Share, ...]
    unreadable: tuple[str, ...]

    @property
    def modules(self) -> int:
        """Modules that are surveyed."""
        return sum(len(share.modules) for share in self.shares)

    @property
    def turns(self) -> int:
        """Turns the survey takes: one a module, and the root's three."""
        return self.modules + 3

    def thinned(self, most: int) -> Tree:
        """The same tree with at most so many shares, taken at even distances."""
        if len(self.shares) <= most:
            return self
        picked = tuple(self.shares[index * len(self.shares) // most] for index in range(most))
        return Tree(self.root, self.found, self.folders, picked, self.unreadable)


def find_tree(root: Path, *, most_modules: int | None = None, per_agent: int = 8) -> Tree:
    """Look for the modules below a folder.

    Args:
        root: the folder.
        most_modules: of more modules than this, so many are taken at even distances; None takes all.
        per_agent: a folder of more modules is shared out among several agents.

    Raises:
        UsageError: it is no folder, or holds no Python module.
    """
    if not root.is_dir():
        raise UsageError(f"{str(root)!r} is not a folder", hint="name the folder of a Python source tree")
    unreadable: list[str] = []
    found = {folder: modules for folder, modules in _walk(root, unreadable) if modules}
    paths = [path for modules in found.values() for path in modules]
    if not paths:
        raise UsageError(f"there is no Python module below {str(root)!r}", hint="name another folder")
    taken = set(_evenly(paths, most_modules or len(paths)))
    shares: list[Share] = []
    for folder, modules in found.items():
        kept = [path for path in modules if path in taken]
        shares.extend(_shares(shown(folder), kept, per_agent))
    return Tree(str(root.resolve()), len(paths), len(found), tuple(shares), tuple(unreadable))


def shown(path: bytes) -> str:
    """A path as text on one line; what cannot be printed is escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _walk(root: Path, unreadable: list[str]) -> Iterator[tuple[bytes, list[bytes]]]:
    def note(error: OSError) -> None:
        unreadable.append(shown(os.path.relpath(os.fsencode(error.filename), top)))

    top = os.fsencode(root.resolve())
    for folder, folders, files in os.walk(top, onerror=note):
        folders[:] = sorted(name for name in folders if os.fsdecode(name) not in _LEFT_OUT)
        paths = [os.path.join(folder, name) for name in sorted(files) if name.endswith(b".py")]  # noqa: PTH118 - bytes
        yield os.path.relpath(folder, top), [os.path.relpath(path, top) for path in paths if _is_plain(path)]


def _is_plain(path: bytes) -> bool:
    """Whether it is a file that can be read to its end: no pipe, no device, no broken link."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - bytes
    except OSError:
        return False


def _evenly(paths: list[bytes], count: int) -> list[bytes]:
    count = min(count, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def _shares(name: str, modules: list[bytes], per_agent: int) -> Iterator[Share]:
    parts = [tuple(modules[start : start + per_agent]) for start in range(0, len(modules), per_agent)]
    for number, part in enumerate(parts, 1):
        yield Share(f"{name} ({number}/{len(parts)})" if len(parts) > 1 else name, part)
