"""Replay: the transcript that a session log amounts to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.events.repair import cap_message, sanitize_recovery_text_bounded
from kernelckpt.model.event import LlmCompleted, RunStarted, SessionEvent, ToolCompleted, ToolResult
from kernelckpt.model.message import ContentPart, Message, Role, Text, ToolResultPart
from kernelckpt.model.os_event import Compressed, PageOut, Rollbacked

ArchiveLoader = Callable[[str], Sequence[Message] | None]
"""Gives the messages of an archive; None when it is not there."""

_IN_PLACE = frozenset({"snip_compact", "micro_compact"})
"""Actions that shorten messages and archive none."""


def reconstruct_messages_with_fallback(
    events: Sequence[SessionEvent],
    session: str,
    cap: int,
    loader: ArchiveLoader,
    *,
    positions: Sequence[int] | None = None,
) -> list[Message]:
    """The messages that a log tells of, in order.

    A run's start gives its goal as a user message, a model's answer its message, each result of a tool one
    tool message. A rollback cuts the history to the length it says. All other events give nothing, but
    `compressed`: it puts what was archived, or else the summary, in the place of the messages archived:

    - as many of the oldest as the archive has, since the oldest leave a context first;
    - without the archive, as many as the `page_out` right behind it says;
    - without that either, those of the events in `archived_seq_range`, both ends included.

    Goals stay, for an agent's plan keeps them. Where there is neither archive nor summary the messages stay
    too; if they are not there either, a system message says what is lost. Messages put in by `compressed`
    do not count towards the length of a rollback, nor do those archived: they had left the history.

    Args:
        events: the whole log, oldest first.
        session: the session's name, for what is said of it.
        cap: bytes of text that are kept of a message or result, as in `sanitize_recovery_text_bounded`.
        loader: gives an archive's messages.
        positions: the events' numbers in the log; None when they count from 0 without a gap.

    Raises:
        InvalidValueError: the cap is negative, or there are not as many positions as events.
    """
    numbers = range(len(events)) if positions is None else positions
    if len(numbers) != len(events):
        text = f"session {session!r} has {len(events)} events and {len(numbers)} positions"
        raise InvalidValueError(text, path="positions", hint="give one position for each event")
    replay = _Replay(session, cap, loader)
    for index, (position, event) in enumerate(zip(numbers, events, strict=True)):
        if isinstance(event, Compressed):
            replay.compress(event, _left(event, events[index + 1 : index + 2]))
        elif isinstance(event, Rollbacked):
            replay.cut(event.checkpoint_history_len)
        else:
            replay.add(position, event)
    return [entry.message for entry in replay.entries]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A message of the transcript; `is_live` while it is in the history too."""

    message: Message
    position: int = -1
    is_goal: bool = False
    is_live: bool = False


class _Replay:
    def __init__(self, session: str, cap: int, loader: ArchiveLoader) -> None:
        self.entries: list[_Entry] = []
        self._session = session
        self._cap = cap
        self._loader = loader

    def add(self, position: int, event: SessionEvent) -> None:
        is_goal = isinstance(event, RunStarted)
        self.entries += [
            _Entry(message, position, is_goal, is_live=True) for message in _messages_of(event, self._cap)
        ]

    def cut(self, length: int) -> None:
        """Keep this many of the messages of the history."""
        live = [index for index, entry in enumerate(self.entries) if entry.is_live]
        dropped = set(live[length:])
        self.entries = [entry for index, entry in enumerate(self.entries) if index not in dropped]

    def compress(self, event: Compressed, left: int) -> None:
        archive = self._loader(event.archive_ref) if event.archive_ref else None
        if archive is None and event.action in _IN_PLACE and not left:
            return
        archived = self._archived(event, left if archive is None else len(archive), archive is not None)
        if archive is not None:
            self._replace(archived, [cap_message(message, self._cap) for message in archive])
        elif event.summary is not None:
            self._replace(archived, [_told(event.turn, event.summary)])
        elif archived:
            self._keep(archived)
        else:
            text = f"lost: session {self._session} keeps neither the messages nor a summary"
            self._replace(archived, [_told(event.turn, text)])

    def _archived(self, event: Compressed, count: int, is_counted: bool) -> list[int]:
        """The indices of the messages that the event archived."""
        live = [index for index, entry in enumerate(self.entries) if entry.is_live]
        if count or is_counted:
            return live[:count]
        low, high = event.archived_seq_range
        return [index for index in live if low <= self.entries[index].position <= high]

    def _replace(self, archived: list[int], messages: Iterable[Message]) -> None:
        self._keep(archived)
        gone = {index for index in archived if not self.entries[index].is_goal}
        at = archived[-1] + 1 if archived else self._live_from()
        before = [entry for index, entry in enumerate(self.entries[:at]) if index not in gone]
        self.entries = [*before, *map(_Entry, messages), *self.entries[at:]]

    def _keep(self, archived: list[int]) -> None:
        for index in archived:
            self.entries[index] = replace(self.entries[index], is_live=False)

    def _live_from(self) -> int:
        live = (index for index, entry in enumerate(self.entries) if entry.is_live)
        return next(live, len(self.entries))


def _left(event: Compressed, following: Sequence[SessionEvent]) -> int:
    """How many messages left the context with this compression; 0 when the log does not say."""
    return sum(
        page.message_count
        for page in following
        if isinstance(page, PageOut) and (page.turn, page.action) == (event.turn, event.action)
    )


def _messages_of(event: SessionEvent, cap: int) -> list[Message]:
    if isinstance(event, RunStarted):
        return [Message.user(_goal_text(event))]
    if isinstance(event, LlmCompleted):
        return [cap_message(event.message, cap)]
    return [_answer(result, cap) for result in event.results] if isinstance(event, ToolCompleted) else []


def _goal_text(event: RunStarted) -> str:
    if not event.criteria:
        return event.goal
    criteria = [f"{number}. {text}" for number, text in enumerate(event.criteria, 1)]
    return "\n".join([event.goal, "", "Criteria:", *criteria])


def _answer(result: ToolResult, cap: int) -> Message:
    output = result.output
    text = output if isinstance(output, str) else "\n".join(map(_text_of, output))
    part = ToolResultPart(result.call_id, sanitize_recovery_text_bounded(text, cap), result.is_error)
    return Message(Role.TOOL, (part,), token_count=result.token_count)


def _text_of(part: ContentPart) -> str:
    """A part as text; of a picture or a sound only that there was one."""
    if isinstance(part, Text):
        return part.text
    return part.output if isinstance(part, ToolResultPart) else f"[{part.__struct_config__.tag}]"


def _told(turn: int, text: str) -> Message:
    return Message.system(f"[Compressed context: turn {turn}]\n{text}")
