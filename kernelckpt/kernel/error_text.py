"""What is kept of an exception: its type and text, and where a program raised it."""

from __future__ import annotations

import traceback

from kernelckpt.errors import KernelCkptError


def error_text(error: BaseException) -> str:
    """Type and text, fit to be kept."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - an exception of a user may fail at anything
        text = f"its text cannot be had: {type(broken).__name__}"
    return f"{type(error).__name__}: {text}".encode("utf-8", "replace").decode()


def told_error_text(error: BaseException) -> str:
    """What is told of a trouble: errors of this package explain themselves, others come with their type."""
    return str(error) if isinstance(error, KernelCkptError) else error_text(error)


def placed_error_text(error: BaseException) -> str:
    """The same with file and line of the raise; errors of this package explain themselves."""
    if isinstance(error, KernelCkptError):
        return error_text(error)
    frames = list(traceback.walk_tb(error.__traceback__))
    place = "".join(f" ({frame.f_code.co_filename.rpartition('/')[2]}:{line})" for frame, line in frames[-1:])
    return error_text(error) + place
