"""What a host of hooks, a kernel, must promise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from kernelckpt.abc.change import Key
from kernelckpt.abc.clock import Clock
from kernelckpt.errors import KernelCkptError
from kernelckpt.model.command import CommandOutcome, PostedCommand


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
