"""Handles: what of a context's contents lies in it, and what lies elsewhere."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class HandleKind(StrEnum):
    """What a handle stands for."""

    TOOL_RESULT = "tool_result"
    MEMORY_PAGE = "memory_page"
    KNOWLEDGE_ENTRY = "knowledge_entry"
    SPOOL_FILE = "spool_file"
    SUB_AGENT_JOIN = "sub_agent_join"


class PageTier(StrEnum):
    """Where a page went."""

    DURABLE = "durable"
    SEMANTIC = "semantic"


class Resident(Record, frozen=True, gc=False, tag="resident", tag_field="kind"):
    """It lies in the context, whole."""


class SpooledOut(Record, frozen=True, gc=False, tag="spooled_out", tag_field="kind"):
    """A preview lies in the context; `r` is the reference of the whole."""

    r: str


class PagedOut(Record, frozen=True, gc=False, tag="paged_out", tag_field="kind"):
    """It lies in another tier."""

    tier: PageTier


class Collapsed(Record, frozen=True, gc=False, tag="collapsed", tag_field="kind"):
    """It is shown as a preview only, while the context is full."""


Residency: TypeAlias = Resident | SpooledOut | PagedOut | Collapsed


class Handle(Record, frozen=True, gc=False):
    """One thing that a context holds or refers to.

    Attributes:
        id: its number in the context.
        kind: what it is.
        residency: where it lies.
        tokens: its size.
        source: where it came from: for tool results the call id.
    """

    id: U32
    kind: HandleKind
    residency: Residency
    tokens: U32
    source: str | None = None

    @property
    def occupies_context(self) -> bool:
        """Whether its tokens count."""
        return isinstance(self.residency, Resident)


class SpooledResult(Record, frozen=True, gc=False):
    """A tool result that was too large for the history, whole.

    Attributes:
        call_id: the call it answers; also its reference.
        tool: the tool's name.
        output: what the tool answered.
        is_error: whether it is an error.
    """

    call_id: str
    tool: str
    output: str
    is_error: bool = False
