"""What is measured of a side that holds the event loop."""

from __future__ import annotations

from msgspec import Struct


class Stall(Struct):
    """One round of one side, in milliseconds.

    Attributes:
        gap: the longest gap between two ticks of a heartbeat.
        idle: the same while nothing was done for as long.
        hold: how long its own timer says that it held the loop, of a hundred times the second longest.
        hold_max: the longest.
    """

    gap: float
    idle: float
    hold: float = 0.0
    hold_max: float = 0.0
