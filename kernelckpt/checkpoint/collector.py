"""Python's collector of cyclic garbage, held back while a restore makes what is none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

FREEZE_FROM = 10_000
"""From so many records on, what a restore has made is set apart."""


class Collector:
    """Spares the event loop full collections, which look at every object of a restored state, time and again.

    What is set apart is not looked at before the kernel has stopped; what was garbage then stays as long.
    """

    _frozen: ClassVar[int] = 0

    def __init__(self) -> None:
        """Nothing is held back, nothing set apart."""
        self._is_frozen = False

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """No collection begins by itself; afterwards it is as it was."""
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()

    def freeze(self) -> None:
        """Set apart whatever there is, unless the program itself has done so: then that is its own affair."""
        if self._is_frozen or Collector._frozen or not gc.get_freeze_count():
            gc.freeze()
            Collector._frozen += not self._is_frozen
            self._is_frozen = True

    def thaw(self) -> None:
        """Have it looked at again, once no kernel is left that set something apart."""
        if self._is_frozen:
            self._is_frozen = False
            Collector._frozen -= 1
            if not Collector._frozen:
                gc.unfreeze()
