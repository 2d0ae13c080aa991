"""A planted bug: where it is put, what it breaks, and the tests that must notice it."""

from __future__ import annotations

import ast
from pathlib import Path

from msgspec import Struct


class DoesNotApplyError(Exception):
    """The text that a mutant replaces is not there, or not once, or what replaces it is no Python."""


class Mutant(Struct, frozen=True, kw_only=True):
    """A bug, as a change of one place of the package.

    Attributes:
        name: the bug in words.
        file: the file it is put into, below the package.
        old: the text it replaces; it must be there exactly once.
        new: what it puts there.
        tests: the tests that notice it, as pytest is given them.
        equivalent: why nobody can notice it; empty for a bug that is one.
        hangs: whether the tests may wait for ever instead of failing.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""
    hangs: bool = False

    def planted(self, package: Path) -> str:
        """The text of the file with the bug in it.

        Raises:
            DoesNotApplyError: the table is behind the code.
        """
        text = (package / self.file).read_text()
        if (count := text.count(self.old)) != 1:
            raise DoesNotApplyError(f"{self.name}: its old text is {count} times in {self.file}")
        if self.old == self.new:
            raise DoesNotApplyError(f"{self.name}: it changes nothing")
        changed = text.replace(self.old, self.new)
        try:
            ast.parse(changed)
        except SyntaxError as error:
            raise DoesNotApplyError(f"{self.name}: {self.file} is no Python with it: {error}") from error
        return changed
