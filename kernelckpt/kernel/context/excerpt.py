"""Parts of texts: their beginning in bytes, or beginning and end with a note of what lies between."""

from __future__ import annotations


def head_bytes(text: str, size: int) -> str:
    """As many whole characters of the beginning as fit into `size` bytes of UTF-8."""
    return text[:size].encode()[:size].decode(errors="ignore")


def excerpt(text: str, keep: int, *, with_tail: bool = False, ending: str = "") -> str | None:
    """The beginning of a text and perhaps its end, with a note of how much was left out.

    Args:
        text: the text.
        keep: how many characters it may have, with the note. Half of them are the text's own in any case, for
            of some texts a character is worth more than one of the note.
        with_tail: whether a third of what is kept is the end of the text.
        ending: what the text ends with, to be kept whole instead of a tail; not counted in `keep`.

    Returns:
        The excerpt; None when nothing of the text would stay, or it would not be shorter.
    """
    own = max(keep - len(_omission(len(text), len(text))), keep // 2)
    tail = own // 3 if with_tail and not ending else 0
    end = ending or text[len(text) - tail :]
    left_out = len(text) - len(end) - (own - tail)
    note = _omission(left_out, len(text))
    if own <= 0 or left_out <= len(note):
        return None
    return f"{text[: own - tail]}{note}{end}"


def _omission(left_out: int, size: int) -> str:
    return f"\n[... {left_out} of {size} characters left out ...]\n"
