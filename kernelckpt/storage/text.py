"""Ids and names as bytes: they are any text, with lone surrogates and NUL, which few stores know as text."""

from __future__ import annotations


def text_bytes(text: str) -> bytes:
    """Any text as bytes."""
    return text.encode("utf-8", "surrogatepass")


def bytes_text(data: bytes) -> str:
    """The text again."""
    return data.decode("utf-8", "surrogatepass")
