"""Straight-line functions as programs: each turn runs the function from its start, past what is recorded."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeAlias, overload

import anyio

from kernelckpt.errors import UsageError
from kernelckpt.kernel.cancellation import is_cancelled
from kernelckpt.kernel.program import Program
from kernelckpt.kernel.straight import branch
from kernelckpt.kernel.straight.attempt import Attempt, Returned
from kernelckpt.kernel.straight.journal import Journal, Limits, NotNow
from kernelckpt.kernel.straight.run import Run
from kernelckpt.kernel.turn.ending import Next
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.model.kernel import Value

RunFunction: TypeAlias = Callable[[Run], Awaitable[Any]]

_MAX_STEPS = 10_000
_MAX_BYTES = 64 * 2**20


class StraightLine(Program):
    """A program that runs a function whose steps are recorded."""

    keeps_calls = True

    def __init__(
        self,
        fn: RunFunction,
        *,
        limits: Limits,
        continues: Collection[int] = (),
        version: int = 1,
        **types: Any,
    ) -> None:
        """See `straight_line`."""
        super().__init__(fn, version=version, upgrade=self._upgrade if continues else None, **types)  # type: ignore[arg-type]
        self._run, self._limits, self._continues = fn, limits, frozenset(continues)
        self.fn = self._turn

    def _upgrade(self, mark: Any, version: int) -> Any:
        if version not in self._continues:
            message = f"version {version} of the function has made steps that this one does not make"
            raise UsageError(message, hint="let such tasks end under the older version")
        return mark

    async def _turn(self, turn: Turn) -> Next:
        """Run the function until it ends or waits for what takes the turn to its end."""
        self._mark(turn)
        attempt, journal = Attempt(), Journal(turn, self._limits)
        run = Run(turn, attempt, journal)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._attempt, run, attempt)
                await attempt.settled()
                group.cancel_scope.cancel()
        finally:
            attempt.close()
        return await _ending(turn, journal, attempt)

    def _mark(self, turn: Turn) -> None:
        """Note the version whose steps are recorded, with the first turn: a later one must say it goes on."""
        core, task_id = turn.core, turn.task.id
        if core.cell(task_id).state is None:
            core.state.put(("state", task_id, 0), Value(self.state.encode({}, "state"), self.version))

    async def _attempt(self, run: Run, attempt: Attempt) -> None:
        branch.begin()
        try:
            attempt.end(Returned(await self._run(run)))
        except CancelledError as error:
            if is_cancelled():
                raise
            attempt.end(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it fails the task, in the turn that runs it
            attempt.end(error)


async def _ending(turn: Turn, journal: Journal, attempt: Attempt) -> Next:
    over = attempt.over
    if isinstance(over, NotNow):
        return turn.sleep(0)
    if isinstance(over, BaseException):
        raise over
    if over is None:
        await journal.refuse_left("a wait")
        return attempt.waiting(turn, turn.core.clock.wall_ms())
    await journal.refuse_left("its end")
    if over.value is None or isinstance(over.value, str):
        return turn.complete(over.value or "")
    return turn.complete(output=over.value)


@overload
def straight_line(fn: RunFunction) -> StraightLine: ...


@overload
def straight_line(
    *,
    input: Any = ...,
    output: Any = ...,
    version: int = ...,
    continues: Collection[int] = ...,
    max_steps: int = ...,
    max_bytes: int = ...,
) -> Callable[[RunFunction], StraightLine]: ...


def straight_line(
    fn: RunFunction | None = None,
    *,
    input: Any = None,  # noqa: A002 - the name users write
    output: Any = None,
    version: int = 1,
    continues: Collection[int] = (),
    max_steps: int = _MAX_STEPS,
    max_bytes: int = _MAX_BYTES,
) -> StraightLine | Callable[[RunFunction], StraightLine]:
    """Make a program of an async function that is not written in turns, for `Scheduler({...})`.

    What it does through `run.step`, `run.sleep`, `run.receive` and `run.ask_approval` is recorded. It is run
    from its start after a crash and after each wait, and gets what is recorded without anything being done
    again; everything else it does is done again. A text it returns is the task's result, anything else the
    output.

    Args:
        fn: `async def function(run)`.
        input: type of its input; None for plain data.
        output: type of what it returns, unless that is a text.
        version: raise it when the function makes other steps than before.
        continues: older versions whose recorded steps this one makes, too; a task that was begun by any other
            is refused when its run is restored.
        max_steps: how many steps may be recorded for a task.
        max_bytes: how many bytes of what they gave; a step is not begun when there are so many.

    Raises:
        UsageError: `fn` is no async function, or a number is none.
    """
    for name, number in (("max_steps", max_steps), ("max_bytes", max_bytes)):
        if type(number) is not int or number < 1:
            raise UsageError(f"{name} is {number!r}", hint="a whole number, 1 or more")
    limits = Limits(max_steps, max_bytes)

    def wrap(function: RunFunction) -> StraightLine:
        types = {"input": input, "output": output}
        return StraightLine(function, limits=limits, continues=continues, version=version, **types)

    return wrap if fn is None else wrap(fn)
