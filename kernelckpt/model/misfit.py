"""What is said of data that do not fit a type: where, and what is wrong, and never the value."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

_VALUE: Final = re.compile(r"(Invalid (?:enum )?value) .*", re.DOTALL)
"""What msgspec says of a label that it does not know, which it repeats."""

_LABELLED: Final = re.compile(r"Invalid (?:enum )?value '[A-Za-z_]{1,32}'")
"""The same of something that may well have been a label of ours, from another version."""


def place_and_text(error: msgspec.ValidationError, *, is_ours: bool = True) -> tuple[str, str]:
    """Where a decoder found a misfit, below what it decodes, and what it says of it.

    What a type's own `__post_init__` has raised is the word of who wrote it, and stays as it is.

    Args:
        error: what the decoder raised.
        is_ours: whether the type is one of this package: a label of its own may be named.
    """
    text, _, inner = str(error).partition(" - at `")
    if error.__cause__ is None and not (is_ours and _LABELLED.fullmatch(text)):
        text = _VALUE.sub(r"\1", text)
    return inner.rstrip("`").removeprefix("$"), text


def text_without_value(error: Exception) -> str:
    """What an error says; one of pydantic's, which repeats its input, is put as fields and kinds of fault."""
    faults: Any = getattr(error, "errors", None)
    if not callable(faults):
        return str(error)
    found = faults(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['type']}" for fault in found)
