"""The log of troubles, for whoever listens to no events."""

from __future__ import annotations

import logging
from contextlib import suppress

_log = logging.getLogger("kernelckpt")


def log_trouble(text: str, *facts: object) -> None:
    """Log a warning; what handlers and filters raise changes nothing of what is done about the trouble."""
    with suppress(Exception):
        _log.warning(text, *facts, stacklevel=2)
