"""Rendering: a context as it is sent to a model; reading it changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from kernelckpt.kernel.context.excerpt import head_bytes
from kernelckpt.kernel.context.groups import start_of_newest
from kernelckpt.kernel.context.plan import format_compact
from kernelckpt.kernel.context.shorten import with_preview
from kernelckpt.model.context import Plan
from kernelckpt.model.handle import Collapsed, Handle
from kernelckpt.model.message import Message, ToolResultPart
from kernelckpt.model.record import Record

PREVIEW_BYTES = 160
"""How much of a collapsed tool result is shown, in bytes of UTF-8."""


class RenderedContext(Record, frozen=True):
    """What a model is sent.

    Attributes:
        system_stable: identity and rules, which change least.
        system_knowledge: retrievals and skill texts.
        system_text: both.
        turns: the state in words as a message of the user, if there is any, then the history.
        omitted: how many of the oldest messages of the history did not fit.
    """

    system_stable: str
    system_knowledge: str
    system_text: str
    turns: tuple[Message, ...]
    omitted: int = 0


def render(
    *,
    system: Iterable[Message],
    knowledge: Iterable[Message],
    history: Iterable[Message],
    plan: Plan,
    signals: Sequence[str],
    handles: Iterable[Handle],
    max_tokens: int,
) -> RenderedContext:
    """A context as a model is sent it.

    Args:
        system: messages of identity and rules.
        knowledge: messages with what was retrieved.
        history: the conversation, all of it.
        plan: the goal/plan record.
        signals: lines of signals.
        handles: handles of the history's tool results; collapsed ones are shown as previews.
        max_tokens: what the history may have as shown; its newest messages that fit are shown, a call and
            its results together.
    """
    stable, known = _joined(system), _joined(knowledge)
    shown = _with_previews(list(history), handles)
    start = start_of_newest(shown, max_tokens)
    text = "\n".join(line for line in (format_compact(plan), *signals) if line)
    state = (Message.user(text),) if text else ()
    both = "\n\n".join(part for part in (stable, known) if part)
    return RenderedContext(stable, known, both, (*state, *shown[start:]), start)


def _joined(messages: Iterable[Message]) -> str:
    return "\n\n".join(text for message in messages if (text := message.text))


def _with_previews(history: list[Message], handles: Iterable[Handle]) -> list[Message]:
    collapsed = _collapsed(handles)
    if not collapsed:
        return history
    show = _shower(collapsed)
    return [with_preview(message, show) for message in history]


def _collapsed(handles: Iterable[Handle]) -> set[tuple[str, int]]:
    """What is collapsed: call ids, with how many handles of the same id came before."""
    seen: Counter[str] = Counter()
    found = set()
    for handle in handles:
        if handle.source is not None:
            if isinstance(handle.residency, Collapsed):
                found.add((handle.source, seen[handle.source]))
            seen[handle.source] += 1
    return found


def _shower(collapsed: set[tuple[str, int]]) -> Callable[[ToolResultPart], ToolResultPart]:
    seen: Counter[str] = Counter()

    def show(part: ToolResultPart) -> ToolResultPart:
        key = (part.call_id, seen[part.call_id])
        seen[part.call_id] += 1
        return _previewed(part) if key in collapsed else part

    return show


def _previewed(part: ToolResultPart) -> ToolResultPart:
    head = head_bytes(part.output, PREVIEW_BYTES)
    note = f"\n[collapsed: the first {len(head)} of {len(part.output)} characters]"
    if len(head) + len(note) >= len(part.output):
        return part
    return replace(part, output=head + note)
