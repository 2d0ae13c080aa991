"""The seams: what a storage, a hook, a host of hooks and a clock must promise.

Each contract is written here once; implementations carry no docstring of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from msgspec import Struct

from kernelckpt.errors import KernelCkptError
from kernelckpt.model.command import CommandOutcome, PostedCommand

Key: TypeAlias = tuple[str, str, int]
"""What a record is kept under: (kind, task, n). `task` is "" for records of the whole kernel."""

PART_BYTES = 8 * 1024 * 1024
"""The largest part of a blob, in bytes."""

META_BYTES = 512
"""The largest metadata of an entry, in bytes."""


class Claim(Struct, frozen=True):
    """Ownership of a run, as `StorageBackend.acquire` grants it.

    Attributes:
        epoch: the owner's number; higher than every one granted before.
        head: the sequence of the newest entry that belongs to the run; 0 when there is none.
    """

    epoch: int
    head: int


class EntryInfo(Struct, frozen=True):
    """What `StorageBackend.list_entries` says of an entry without reading it.

    Attributes:
        epoch: the owner that wrote it.
        sequence: its number in the run.
        size: its length in bytes.
        meta: at most 512 bytes that the writer gave.
        segment: entries of one segment are deleted together; "" where each stands alone.
        damage: empty, or why it cannot be read although it had been acknowledged.
    """

    epoch: int
    sequence: int
    size: int
    meta: bytes
    segment: str = ""
    damage: str = ""


class BlobInfo(Struct, frozen=True):
    """A whole blob: its name and its length in bytes."""

    name: str
    size: int


class PostedMessage(Struct, frozen=True):
    """Something put into a run's inbox from outside.

    Attributes:
        message_id: its id; "" where damage hides it.
        order: says how to sort them.
        data: what was posted.
        damage: empty, or why it cannot be read; it hides no other message.
    """

    message_id: str
    order: int
    data: bytes
    damage: str = ""


class StorageBackend(ABC):
    """Where bytes live, and who may add to them. Policy (chains, bases, retention) lives above.

    A backend serves many runs and many concurrent callers of one process. A run id is any non-empty text;
    it never appears unescaped in a path, a statement or a name. A call on a closed backend raises
    `StorageUnavailableError`.

    Cancellation: a cancelled call either had no effect or has its whole effect, now or a little later; it
    never leaves half of one. A caller that was cancelled in `append` must read the number back.
    """

    name: str
    """The storage's URL without credentials, for messages."""

    durable: bool
    """Whether what is acknowledged survives the end of this process and power loss."""

    notes: Sequence[str] = ()
    """What somebody should know who relies on what is kept here, in words; known once it is opened."""

    @abstractmethod
    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        """Become the run's owner, creating the run when it does not exist.

        On return every entry and blob that listing shows is durable (synced by this call if need be), the
        new epoch is durable, and every entry that an older epoch adds from now on is void: never listed.
        An owner that acquired the run through this very object is not asked: it is fenced.

        Args:
            run_id: the run.
            holder: who asks, for the error message of others.
            takeover: do not refuse although the present owner seems alive; it will be fenced.

        Raises:
            RunOwnedError: the owner is alive (its lock or session is held) and `takeover` is false.
            StorageError: the storage cannot be used.
        """

    @abstractmethod
    async def release(self, run_id: str, epoch: int) -> None:
        """Give up ownership so that others need not wait; nothing happens if it was lost already."""

    @abstractmethod
    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        """Add one entry, given in pieces to be written without joining; durable on return.

        Atomic: it is there whole or not at all. One call at a time per run. A torn entry that was never
        acknowledged is dropped silently by later listings.

        Args:
            run_id: the run.
            epoch: the caller's epoch.
            sequence: must be the head + 1.
            entry: pieces of one entry.
            meta: at most 512 bytes, returned by `list_entries`.

        Raises:
            FencedError: the epoch is not the newest one, or the sequence is not head + 1; nothing was
                acknowledged. Checked after the sync, before returning.
            StorageFullError: no space; not added. The same number may be tried again.
            SyncFailedError: not acknowledged; the same number may be tried again and goes elsewhere.
            UnknownOutcomeError: it may or may not be there; list before trying again.
        """

    @abstractmethod
    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        """The entries numbered above `after`, in order of sequence, at most `limit`; no entry is read whole.

        Void entries (of an older epoch, past the point where a newer one began) and torn ones are not
        listed. Damaged entries are, with `damage` set. Numbers may be missing where entries were deleted.
        May be called by anyone at any time.

        Raises:
            NotFoundError: no such run.
            UnsupportedVersionError: the storage was written by a newer version.
        """

    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        """The newest entries, in order of sequence: at most `limit`, and not none unless there are none.

        What may be listed, and the errors, are those of `list_entries`. A backend that can read its listing
        from the end may do so; here the end is found with a few probes, and fewer than `limit` may come.
        """
        low = 0
        width = step = max(limit, 1)  # `list_entries` says what is wrong with another
        while await self.list_entries(run_id, after=low + step, limit=1):
            low, step = low + step, 2 * step
        while step > width:
            step //= 2
            if await self.list_entries(run_id, after=low + step, limit=1):
                low += step
        return await self.list_entries(run_id, after=low, limit=limit)

    @abstractmethod
    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """Bytes of one entry from `offset`; fewer than `length` only at its end.

        Raises:
            NotFoundError: it is not there (any more): list again.
            CorruptionError: it is there but damaged.
        """

    @abstractmethod
    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        """Add part `index` (0, 1, ...) of blob `name`, at most 8 MiB; parts come in order."""

    @abstractmethod
    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        """Make the blob whole and durable; only then it can be listed and read.

        Raises:
            FencedError: the epoch is not the newest one.
            StorageError: as for `append`; the blob is not there and its name must not be used again.
        """

    @abstractmethod
    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a blob from `offset`; fewer than `length` only at its end.

        Raises:
            NotFoundError: it is not there (any more).
        """

    @abstractmethod
    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        """The whole blobs of a run, by name. Unfinished ones of dead owners are not listed."""

    @abstractmethod
    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        """Remove entries (all those of a segment together) and blobs; missing ones are no error.

        The head and the epoch stay what they were, even when everything is removed. Left-overs of
        unfinished blobs are removed as well.

        Raises:
            FencedError: the epoch is not the newest one.
        """

    @abstractmethod
    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        """Put a message into the run's inbox, durably; anyone may, owner or not.

        Returns:
            False when a message of this id is there already: nothing was changed.

        Raises:
            NotFoundError: no such run.
        """

    @abstractmethod
    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        """The run's inbox, oldest first.

        Nothing is listed without what had been acknowledged before it was posted, unless that was deleted.
        Damaged messages are listed, before the others, with `damage` set.
        """

    @abstractmethod
    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        """Remove messages from the inbox, durably; missing ones are no error."""

    @abstractmethod
    async def list_runs(self) -> Sequence[str]:
        """The ids of all runs, sorted."""

    @abstractmethod
    async def delete_run(self, run_id: str) -> None:
        """Remove a run with everything in it.

        Raises:
            RunOwnedError: its owner is alive.
            NotFoundError: no such run.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Release ownerships, threads, files; calling it again does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Put(Struct, frozen=True):
    """A record is set: a frozen struct, or its encoded bytes."""

    key: Key
    record: Struct | bytes


class Remove(Struct, frozen=True):
    """A record, or a whole stream, is gone."""

    key: Key


class Append(Struct, frozen=True):
    """Encoded items are added to the stream `key` (its n is the generation), from index `start` on."""

    key: Key
    start: int
    items: tuple[bytes, ...]


Change: TypeAlias = Put | Remove | Append


class Commit(Struct, frozen=True):
    """One synchronous change of kernel state.

    Attributes:
        number: 1, 2, ... within the life of this process.
        turn: the kernel turn it happened in.
        changes: what changed, by key; applying them twice is applying them once.
        urgent: whether it asks for a checkpoint; the others ride along with the next one.
        ended_turn: whether it is the end of a turn.
        waits: whether it put a task to wait for the outside.
    """

    number: int
    turn: int
    changes: tuple[Change, ...]
    urgent: bool = True
    ended_turn: bool = False
    waits: bool = False


class RestoredState(Protocol):
    """What a hook hands to its host on start: the state as of one commit."""

    @property
    def records(self) -> Mapping[Key, bytes]:
        """Every record, encoded."""

    @property
    def streams(self) -> Mapping[Key, Sequence[bytes]]:
        """Every stream, as its encoded items in order."""


class Unread(Protocol):
    """Streams that a hook has not read yet; it reads each once. One call at a time."""

    def counts(self) -> Iterator[tuple[Key, int]]:
        """Each stream, and how many items it has."""

    async def read(self, keys: Collection[Key]) -> Mapping[Key, Sequence[bytes]]:
        """Read these; those that were read already, or removed by the host, are left out.

        Raises:
            CorruptionError: one is damaged, or gone.
            EncryptionError, StorageError: it cannot be read.
        """

    async def read_on(self) -> Mapping[Key, Sequence[bytes]] | None:
        """Read some of the rest, as it is read fastest, perhaps none; None when nothing is left."""


@runtime_checkable
class PartlyRead(Protocol):
    """What a `RestoredState` has too of which not all streams were read; for a `PatientHost` only."""

    @property
    def unread(self) -> Unread | None:
        """Streams that are not among `streams`; None when all are."""


class KernelHost(Protocol):
    """The kernel as a hook sees it. Any host that offers this can be checkpointed."""

    @property
    def run_id(self) -> str:
        """The run this kernel continues."""

    @property
    def clock(self) -> Clock:
        """The kernel's source of time."""

    @property
    def commit_number(self) -> int:
        """The number of the newest commit; 0 before the first."""

    @property
    def turn(self) -> int:
        """Kernel turns so far, over the life of the run."""

    def rehearse(self, state: RestoredState) -> Sequence[str]:
        """What is missing to go on from this state; empty when nothing is. Changes nothing."""

    def restore(self, state: RestoredState, *, downtime_ms: int | None, notes: Sequence[str]) -> None:
        """Go on from this state. Called at most once, from `on_start`, before any commit.

        Args:
            state: what was found.
            downtime_ms: wall time between the restored checkpoint and now; None when unknown.
            notes: findings of the log for the report (a torn tail dropped, damage set aside).

        Raises:
            RestoreError: something is missing or the records contradict each other.
            DecodeError: a record is not what it should be.
        """

    def scan(self) -> Iterator[tuple[Key, Struct | bytes | None]]:
        """All live records, one at a time, for a base; None stands for "this key is a stream".

        The iterator stays valid while commits go on. A record that changes meanwhile is given in its old
        or its new form: the commits since the scan began are replayed over it.
        """

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run a coroutine of the hook until the kernel ends; its exception halts the kernel."""

    def halt(self, error: BaseException) -> None:
        """Stop at once without another output: durability or ownership is gone."""

    def request_stop(self, grace: float | None = None) -> None:
        """Begin a graceful stop, as a signal handler would; returns at once.

        Args:
            grace: seconds that running turns are given; None for the kernel's default.
        """

    def call_at_end(self, callback: Callable[[], None]) -> None:
        """Call back once the kernel has stopped and the last hook with it."""

    def report(self, kind: str, **facts: Any) -> None:
        """Tell whoever listens to the kernel's events, as ("checkpoint_failed", error=...)."""


class Rehearsed(Protocol):
    """What a host made of a state in order to see whether it could go on from it."""

    @property
    def missing(self) -> Sequence[str]:
        """What is missing; empty when nothing is."""


@runtime_checkable
class PatientHost(Protocol):
    """What a `KernelHost` offers too that restores in small steps, so that others run beside a large restore.

    It takes states that are `PartlyRead`: it has streams read as it needs them, and halts if they cannot be.
    Nobody may use the host before the last step, but look at it, and what is seen is a committed state.
    """

    def rehearsing(self, state: RestoredState) -> Generator[None, None, Rehearsed]:
        """`KernelHost.rehearse` in steps of some microseconds."""

    def restoring(
        self, rehearsal: Any, *, downtime_ms: int | None, notes: Sequence[str]
    ) -> Generator[None, None, None]:
        """`KernelHost.restore` in steps, from what `rehearsing` gave, which is not used again."""


@runtime_checkable
class CommandHost(Protocol):
    """What a `KernelHost` offers besides if it takes commands that others have posted for it."""

    def take_command(self, posted: PostedCommand) -> CommandOutcome:
        """Do what is asked, in one commit with the record of what came of it.

        A command that is found again is known by its id: the record is returned, and nothing is done. One
        that cannot be done is an outcome too, never an error.

        Raises:
            SchedulerStopped: nothing is taken any more; it is to be left in the inbox.
        """

    def refuse_command(self, command_id: str, error: KernelCkptError) -> CommandOutcome:
        """Record of a command that cannot be read that it was refused; as for `take_command`."""

    def taken_commands(self) -> Sequence[str]:
        """The ids of the commands that are remembered."""

    def forget_commands(self, command_ids: Sequence[str]) -> None:
        """Remember them no longer: they have been deleted from the inbox, durably."""


@runtime_checkable
class RuntimeHook(Protocol):
    """An object the scheduler calls at fixed points of its life. `Hook` gives each point a default."""

    async def on_start(self, kernel: KernelHost) -> None:
        """Called on entering the scheduler, before any turn; may call `kernel.restore`."""

    async def on_open(self, kernel: KernelHost) -> None:
        """Called when all hooks have started, still before any turn."""

    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        """Called synchronously within each commit; must be cheap and must not raise."""

    async def ready(self) -> None:
        """Awaited before each turn: back-pressure. Raising halts the kernel."""

    async def durable(self, commit: int) -> None:
        """Awaited before every output that rests on commits up to this number. Raising halts the kernel."""

    async def kept(self, commit: int) -> None:
        """Awaited before and after a call that must not be repeated: what rests on it is durable on return.

        Unlike `durable`, it waits whatever the hook is set to. Raising halts the kernel.
        """

    async def on_signal(self, kernel: KernelHost, signal: Any) -> None:
        """Called after a `RuntimeSignal` was routed."""

    async def on_stop(self, kernel: KernelHost) -> None:
        """Called on leaving, after the last turn; hooks stop in reverse order of their start."""


class Hook:
    """A `RuntimeHook` whose points do nothing; subclass it and fill in those you need."""

    async def on_start(self, kernel: KernelHost) -> None:
        """Do nothing."""

    async def on_open(self, kernel: KernelHost) -> None:
        """Do nothing."""

    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        """Do nothing."""

    async def ready(self) -> None:
        """Hold nothing back."""

    async def durable(self, commit: int) -> None:
        """Hold nothing back."""

    async def kept(self, commit: int) -> None:
        """Wait as for any other output."""
        await self.durable(commit)

    async def on_signal(self, kernel: KernelHost, signal: Any) -> None:
        """Do nothing."""

    async def on_stop(self, kernel: KernelHost) -> None:
        """Do nothing."""


class Clock(Protocol):
    """A source of time; injected, so that tests own it."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970; may jump."""

    def monotonic(self) -> float:
        """Seconds from some point in the past; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
