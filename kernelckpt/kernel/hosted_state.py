"""The state of a kernel as its hooks see it: what it is named, how far it is, and how it came back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from kernelckpt.abc import Clock, Key, RestoredState
from kernelckpt.errors import UsageError
from kernelckpt.kernel import restore
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.restore import Rehearsal, RestoreReport
from kernelckpt.kernel.steps import Steps, finished


class HostedState:
    """The part of a `KernelHost` that needs no event loop; see there for what its methods promise."""

    def __init__(self, core: Core, run_id: str, clock: Clock) -> None:
        """Nothing is restored, no task runs yet."""
        self._core = core
        self._run_id = run_id
        self._clock = clock
        self._open = False
        self._restored: RestoreReport | None = None

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self._run_id

    @property
    def clock(self) -> Clock:
        """The source of time."""
        return self._clock

    @property
    def commit_number(self) -> int:
        """The number of the newest commit in this process."""
        return self._core.state.number

    @property
    def turn(self) -> int:
        """Turns committed by all tasks over the life of the run."""
        return self._core.state.totals.turn

    def rehearse(self, state: RestoredState) -> Sequence[str]:
        """What is missing here to go on from a state."""
        return finished(self.rehearsing(state)).missing

    def restore(self, state: RestoredState, *, downtime_ms: int | None, notes: Sequence[str]) -> None:
        """Go on from a state; see `KernelHost.restore`."""
        with self._core.redactor.errors():
            rehearsal = finished(self.rehearsing(state))
        finished(self.restoring(rehearsal, downtime_ms=downtime_ms, notes=notes))

    def rehearsing(self, state: RestoredState) -> Steps[Rehearsal]:
        """Load a state and see what is missing here to go on from it, in steps."""
        return restore.rehearse(self._core, state)

    def restoring(
        self, rehearsal: Rehearsal, *, downtime_ms: int | None, notes: Sequence[str]
    ) -> Steps[None]:
        """Go on from a state that was rehearsed, in steps."""
        if self._open or self._restored is not None:
            raise UsageError("this kernel has a state already", hint="let one hook restore, on start")
        with self._core.redactor.errors():
            self._restored = yield from restore.take_over(
                self._core, self._run_id, rehearsal, downtime_ms, notes
            )

    def scan(self) -> Iterator[tuple[Key, Struct | bytes | None]]:
        """All live records, one at a time."""
        return self._core.state.scan()

    def report(self, kind: str, **facts: Any) -> None:
        """Emit an event of the kernel."""
        self._core.events.alarm(kind, **facts)
