"""Spooling: of a very large tool result only a preview joins the history, the whole is kept beside it."""

from __future__ import annotations

from kernelckpt.kernel.context.excerpt import head_bytes
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.record import Record

LONGEST_CHARACTER = 4
"""Bytes of the longest character in UTF-8."""

LONGEST_MARKER = 300
"""Characters beyond which a last line is no marker of ours."""

_MARKER = "[spooled: "


class SpoolPreview(Record, frozen=True):
    """What stays of a large tool result in the history.

    Attributes:
        text: its beginning, and a marker that says how large the whole is and where it is.
        total_bytes: the size of the whole.
        preview_bytes: the size of the beginning, without the marker.
    """

    text: str
    total_bytes: int
    preview_bytes: int


def preview(output: str, config: ContextConfig) -> SpoolPreview | None:
    """The preview of an output that is too large for a history; None for one that is not.

    Sizes are bytes of UTF-8. A preview is never larger than the threshold itself.
    """
    threshold = config.spool_threshold_bytes
    if threshold == 0 or len(output) * LONGEST_CHARACTER <= threshold:
        return None
    total = len(output.encode())
    if total <= threshold:
        return None
    head = head_bytes(output, min(config.spool_preview_bytes, threshold))
    size = len(head.encode())
    where = "the whole is kept under this call id"
    return SpoolPreview(f"{head}\n{_MARKER}the first {size} of {total} bytes; {where}]", total, size)


def marker_of(output: str) -> str:
    """The marker that a preview ends with, so that what shortens it further can keep it; else ""."""
    last = output[output.rfind("\n") + 1 :]
    return last if last.startswith(_MARKER) and len(last) <= LONGEST_MARKER else ""
