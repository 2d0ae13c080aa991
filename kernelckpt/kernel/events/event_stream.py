"""The event log as a run keeps it: a fold of what is old, the children's records, a stream of what is new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kernelckpt.abc import Append, Key
from kernelckpt.codec.record import EVENTS, decode_item, encode_record, path_of
from kernelckpt.kernel.events.event_log import EventLog, rebuild_log
from kernelckpt.model.logged_event import LoggedEvent
from kernelckpt.model.os_event import AgentProcessChanged
from kernelckpt.model.os_snapshot import EventFold, ProcessRecord

FOLD: Key = ("fold", "", 0)
"""The key of the fold."""

FOLD_EVERY = 256
"""How many events the stream holds at most; a restore reads no more than these, however old the run is."""


class EventStream:
    """Takes events, and says what a commit must write of them.

    Attributes:
        log: all that happened, with what no commit holds yet.
        fold: what was folded.
        items: the events since, encoded, as commits hold them; a fold begins another list.
        noted: the encoded events that no commit holds yet.
    """

    def __init__(self) -> None:
        """Nothing has happened."""
        self.log = EventLog()
        self.fold = EventFold()
        self.items: list[bytes] = []
        self.noted: list[bytes] = []
        self._changed: dict[str, None] = {}

    @property
    def key(self) -> Key:
        """The key of the stream that is in use."""
        return (EVENTS, "", self.fold.generation)

    @property
    def is_full(self) -> bool:
        """Whether what was noted no longer fits into the stream."""
        return len(self.items) + len(self.noted) > FOLD_EVERY

    def note(self, event: LoggedEvent) -> None:
        """Take an event; the next commit holds it.

        Raises:
            InvalidValueError: it cannot be encoded; nothing was taken.
        """
        self.noted.append(encode_record(event))
        self.log.append(event)
        if isinstance(event, AgentProcessChanged):
            self._changed[event.agent_id] = None

    def take(self) -> Append:
        """Put what was noted at the end of the stream."""
        change = Append(self.key, len(self.items), tuple(self.noted))
        self.items.extend(self.noted)
        self.noted.clear()
        return change

    def changed_processes(self) -> Iterator[ProcessRecord]:
        """The children that changed since the fold and are not forgotten."""
        for agent_id in self._changed:
            process = self.log.process(agent_id)
            if process is not None:
                yield process

    def next_fold(self) -> EventFold:
        """Fold everything, but for the children, and begin an empty stream."""
        self.noted.clear()
        self._changed.clear()
        self.items = []
        self.fold = EventFold(self.fold.generation + 1, self.log.view_without_processes())
        return self.fold

    def load(
        self,
        fold: EventFold,
        processes: Iterable[ProcessRecord],
        items: Sequence[bytes],
        agents: Iterable[str],
    ) -> None:
        """Go on from what a run keeps; see `rebuild_log`.

        Raises:
            DecodeError: an item is no event; the path names its place.
        """
        self.fold, self.items = fold, list(items)
        where = path_of(self.key)
        events = [decode_item(EVENTS, item, f"{where} item {index}") for index, item in enumerate(items)]
        self.log = rebuild_log(fold, processes, events, agents)
        changed = (event.agent_id for event in events if isinstance(event, AgentProcessChanged))
        self._changed = dict.fromkeys(changed)
