"""Python's collector of cyclic garbage, kept from looking at what a restore makes, which is no garbage."""

from __future__ import annotations

import gc
from typing import ClassVar

FREEZE_FROM = 10_000
"""From so many records on, what a restore has made is set apart."""

_NEVER = 2**31 - 1


class Collector:
    """Spares the event loop full collections, which look at every object of a restored state, time and again.

    Young garbage is collected all the while. What is set apart is not looked at before the kernel has
    stopped; what was old garbage then stays as long.
    """

    _holding: ClassVar[int] = 0
    _threshold: ClassVar[int] = 0
    _frozen: ClassVar[int] = 0

    def __init__(self) -> None:
        """Nothing is held back, nothing set apart."""
        self._is_holding = False
        self._is_frozen = False

    def hold_back(self) -> None:
        """Have no full collection begin by itself."""
        if not self._is_holding:
            self._is_holding = True
            Collector._holding += 1
            if Collector._holding == 1:
                young, middle, Collector._threshold = gc.get_threshold()
                gc.set_threshold(young, middle, _NEVER)

    def go_on(self) -> None:
        """As it was before, once nobody holds it back any more."""
        if self._is_holding:
            self._is_holding = False
            Collector._holding -= 1
            young, middle, oldest = gc.get_threshold()
            if not Collector._holding and oldest == _NEVER:  # else the program has set it meanwhile
                gc.set_threshold(young, middle, Collector._threshold)

    def freeze(self) -> None:
        """Set apart whatever there is, unless the program itself has done so: then that is its own affair."""
        if self._is_frozen or Collector._frozen or not gc.get_freeze_count():
            gc.freeze()
            Collector._frozen += not self._is_frozen
            self._is_frozen = True

    def thaw(self) -> None:
        """Have it looked at again, once no kernel is left that set something apart."""
        self.go_on()
        if self._is_frozen:
            self._is_frozen = False
            Collector._frozen -= 1
            if not Collector._frozen:
                gc.unfreeze()
