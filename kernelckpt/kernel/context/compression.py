"""Compression: a history gives way in stages, from the weakest to the one that pressure asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import floor

from kernelckpt.kernel.context.groups import boundaries, last_boundary
from kernelckpt.kernel.context.pressure import CompressionAction
from kernelckpt.kernel.context.shorten import reduced, snipped
from kernelckpt.kernel.context.summary import summary_of
from kernelckpt.kernel.context.tokens import tokens_of
from kernelckpt.model.context import CompressionNote, Plan
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.message import Message
from kernelckpt.model.record import Record

MIN_MESSAGE_TOKENS = 50
"""The smallest cap on a message."""


class Compression(Record, frozen=True):
    """What became of a history.

    Attributes:
        messages: what is kept: the end of the history. A message that was not shortened is the same object.
        archived: what was dropped: the beginning of the history, as it was.
        notes: what each stage did, for the plan; stages that did nothing leave none.
        actions: the stages that did something.
        tokens_before: tokens of the context before, with `other_tokens`.
        tokens_after: the same after; the notes are not counted.
    """

    messages: Sequence[Message]
    archived: tuple[Message, ...]
    notes: tuple[CompressionNote, ...]
    actions: tuple[CompressionAction, ...]
    tokens_before: int
    tokens_after: int


class _Rules(Record, frozen=True):
    """What the stages go by; `tail` is the number of newest messages that are not dropped."""

    target: int
    cap: int
    tail: int
    preserved: frozenset[str]


def compress(
    messages: Iterable[Message],
    plan: Plan,
    *,
    config: ContextConfig,
    max_tokens: int,
    action: CompressionAction,
    force: bool = False,
    other_tokens: int = 0,
    observed_tokens: int | None = None,
) -> Compression:
    """Compress a history in stages up to `action`, until the context is down to its target.

    Oversized messages are cut, large tool results reduced (both first in older messages, in the newest only
    when that is not enough), the oldest messages dropped until the history alone is down to the target,
    and at last all but the newest. A call and its results are kept or dropped together, so that the
    newest messages may be some more than the configuration says.

    Args:
        messages: the history.
        plan: the plan, which names results that are not to be shortened.
        config: ratios, and how many of the newest messages are never dropped.
        max_tokens: the context window.
        action: the last stage.
        force: whether to run all these stages, as far as they go.
        other_tokens: tokens of the rest of the context.
        observed_tokens: tokens of the context as the provider has counted them. When they are more than
            the estimate, the target shrinks in proportion, for it is the provider's window that is full.
    """
    messages = tuple(messages)
    work = _Work(messages, other_tokens)
    before = work.total
    rules = _rules(plan, config, max_tokens, 0 if force else _scaled(before, observed_tokens))
    notes = []
    for stage, run in _STAGES.items():
        if work.total <= rules.target:
            break
        summary = run(work, rules)
        if summary is not None:
            notes.append((stage, CompressionNote(stage.value, summary)))
        if stage is action:
            break
    return Compression(
        tuple(work.messages),
        messages[: work.dropped],
        tuple(note for _, note in notes),
        tuple(stage for stage, _ in notes),
        before,
        work.total,
    )


def protected_tail(config: ContextConfig) -> int:
    """How many of the newest messages are never dropped."""
    return max(config.preserve_recent_msgs, 2 * config.preserve_recent_turns)


class _Work:
    """A history under compression, with the tokens of each message."""

    def __init__(self, messages: Sequence[Message], other_tokens: int) -> None:
        self.messages = list(messages)
        self.sizes = [tokens_of(message) for message in messages]
        self.history = sum(self.sizes)
        self.dropped = 0
        self._other = other_tokens

    @property
    def total(self) -> int:
        return self.history + self._other

    def replace(self, index: int, message: Message) -> None:
        size = tokens_of(message)
        self.history += size - self.sizes[index]
        self.messages[index], self.sizes[index] = message, size

    def drop(self, cut: int) -> str | None:
        """Drop the oldest messages up to an index; the summary of them."""
        if cut == 0:
            return None
        tokens = sum(self.sizes[:cut])
        summary = summary_of(self.messages[:cut], tokens)
        del self.messages[:cut], self.sizes[:cut]
        self.history -= tokens
        self.dropped += cut
        return summary


def _rules(plan: Plan, config: ContextConfig, max_tokens: int, scale: float) -> _Rules:
    target = floor(floor(config.target_after_compress * max_tokens) * scale)
    cap = max(floor(config.snip_per_msg_ratio * max_tokens), MIN_MESSAGE_TOKENS)
    return _Rules(target, cap, protected_tail(config), frozenset(plan.preserved_refs))


def _scaled(total: int, observed: int | None) -> float:
    return 1.0 if observed is None or observed <= total else total / observed


def _snip(work: _Work, rules: _Rules) -> str | None:
    changed, tokens = _shorten(work, rules, lambda message: snipped(message, rules.cap, rules.preserved))
    return f"cut {changed} messages of more than {rules.cap} tokens, {tokens}" if changed else None


def _micro(work: _Work, rules: _Rules) -> str | None:
    changed, tokens = _shorten(work, rules, lambda message: reduced(message, rules.preserved))
    return f"reduced large tool results in {changed} messages, {tokens}" if changed else None


def _shorten(work: _Work, rules: _Rules, change: Callable[[Message], Message]) -> tuple[int, str]:
    changed, before = 0, work.history
    tail = max(len(work.messages) - rules.tail, 0)
    for span in (range(tail), range(tail, len(work.messages))):
        if work.total <= rules.target:
            break
        for index in span:
            message = change(work.messages[index])
            if message is not work.messages[index]:
                work.replace(index, message)
                changed += 1
    return changed, f"{before} -> {work.history} tokens"


def _collapse(work: _Work, rules: _Rules) -> str | None:
    history, cut = work.history, 0
    for following in _droppable(work, rules):
        if history <= rules.target:
            break
        history -= sum(work.sizes[index] for index in range(cut, following))
        cut = following
    return work.drop(cut)


def _auto(work: _Work, rules: _Rules) -> str | None:
    cuts = boundaries(work.messages)
    return work.drop(last_boundary(cuts, len(work.messages) - rules.tail))


def _droppable(work: _Work, rules: _Rules) -> list[int]:
    limit = len(work.messages) - rules.tail
    return [cut for cut in boundaries(work.messages)[1:] if cut <= limit]


_STAGES: dict[CompressionAction, Callable[[_Work, _Rules], str | None]] = {
    CompressionAction.SNIP_COMPACT: _snip,
    CompressionAction.MICRO_COMPACT: _micro,
    CompressionAction.CONTEXT_COLLAPSE: _collapse,
    CompressionAction.AUTO_COMPACT: _auto,
}
