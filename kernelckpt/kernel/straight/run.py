"""What a straight-line function is given: its steps, and its waits."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

import msgspec

from kernelckpt.codec.record import decode_message, decode_record, encode_record, unshared
from kernelckpt.errors import GovernanceError, StepLimitError, StepMismatchError, UsageError
from kernelckpt.kernel.argument import check_name, milliseconds
from kernelckpt.kernel.calls.tool import Tool, as_tool, tool
from kernelckpt.kernel.straight import branch
from kernelckpt.kernel.straight.attempt import Ask, Attempt, Receive, Sleep
from kernelckpt.kernel.straight.journal import Journal, NotNow
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.model.approval import Approval
from kernelckpt.model.message import Message

_T = TypeVar("_T")

_SLEEP, _RECEIVE, _ASK = "run.sleep", "run.receive", "run.ask_approval"
_RESERVED = "run."

_OVER = 0
"""What is recorded of a sleep that is over, instead of its end."""

_STOPS = (GovernanceError, StepMismatchError, StepLimitError, NotNow)
"""What ends the attempt: the function must not go another way for what is not recorded."""


class Run:
    """A straight-line function's hold on its task. What it is to remember goes through it.

    Attributes:
        task_id: the task's id.
        goal: what it is to do.
        input: its input, of the function's type; None when it has none.
        deps: what the scheduler was given for its programs; not recorded.
    """

    def __init__(self, turn: Turn, attempt: Attempt, journal: Journal) -> None:
        """Made by the scheduler."""
        self.task_id = turn.task.id
        self.goal = turn.goal
        self.input = turn.input
        self.deps = turn.deps
        self._turn = turn
        self._core = turn.core
        self._cell = self._core.cell(self.task_id)
        self._attempt = attempt
        self._journal = journal

    async def step(self, name: str, fn: Callable[..., Any] | Tool, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function and record what it returns or raises; a rerun is given that, and calls nothing.

        A step is known by its name, its arguments, and how many alike came before it; or by its name and the
        key of `tool(fn).options(key=...)`. Steps may be made at the same time.

        Args:
            name: what it is called in the record; governance judges it by this name.
            fn: an async function, a sync one (it runs in a thread), or a tool, whose policy says what is
                done when nobody knows whether it happened. Without one a human is asked.
            args: its positional arguments.
            kwargs: its keyword arguments.

        Raises:
            EffectError: it raised, now or then.
            EffectDenied: it is not to be done, or not again.
            UsageError: the name is reserved, or it is made within another step.
            InvalidValueError: its arguments cannot be kept.
        """
        made = _named(name, fn)
        return await self._asked(lambda: self._turn.effect(made, *args, **kwargs))

    def wrap(self, fn: Callable[..., Any] | Tool, name: str | None = None) -> Callable[..., Awaitable[Any]]:
        """An async function that makes each call of a function a step, for code that knows of none.

        Args:
            fn: the function or tool.
            name: the name of the steps; by default the function's.
        """
        made = as_tool(fn) if name is None else _named(name, fn)

        @wraps(made.fn)
        async def step(*args: Any, **kwargs: Any) -> Any:
            return await self.step(made.name, made, *args, **kwargs)

        return step

    def emit(self, delta: Any) -> None:
        """Show a draft to whoever listens to `kernel.events()`; nothing of it is kept.

        Shown from within a step it is shown as often as that is made, else again with each rerun.
        """
        self._turn.emit(delta)

    async def sleep(self, seconds: float) -> None:
        """Wait so long; the timer survives a restart, and is due at once when its time passed meanwhile.

        Raises:
            InvalidValueError: not a number of seconds, 0 or more.
        """
        pause = milliseconds(seconds, "seconds")
        asked = await self._asked(lambda: self._journal.ask(_SLEEP, seconds))
        if asked.outcome is None:
            until = self._core.clock.wall_ms() + pause
            asked = self._journal.record(asked, msgspec.msgpack.encode(until))
        else:
            until = msgspec.msgpack.decode(asked.outcome, type=int)
        if self._core.clock.wall_ms() < until:
            await self._attempt.wait(Sleep(until))
        if until != _OVER:  # a clock that is set back must not begin it again
            self._journal.record(asked, msgspec.msgpack.encode(_OVER))

    async def receive(self) -> Message:
        """The next message sent to the task; each is received once."""
        asked = await self._asked(lambda: self._journal.ask(_RECEIVE))
        if asked.outcome is not None:
            return decode_message(asked.outcome, "message")
        for number, entry in sorted(self._cell.inbox.items()):
            if entry.message is not None:
                self._journal.record(asked, encode_record(entry.message), [("inbox", self.task_id, number)])
                return unshared(entry.message)
        return await self._attempt.wait(Receive())

    async def ask_approval(
        self,
        key: str,
        prompt: str,
        payload: Any = None,
        timeout: float | None = None,  # noqa: ASYNC109 - it is kept with the question
    ) -> Approval:
        """Ask a human, and wait for the answer.

        Args:
            key: the question's id within the task; asked again, it has the same answer.
            prompt: the question.
            payload: plain data to decide upon.
            timeout: seconds after which silence counts as denied.

        Returns:
            The answer; see its `approved`, `by` and `reason`.
        """
        check_name(key, "key")
        asked = await self._asked(lambda: self._journal.ask(_ASK, key))
        if asked.outcome is not None:
            return cast("Approval", decode_record(("approval", self.task_id, 0), asked.outcome))
        answer = self._answer(key)
        if answer is None:
            await self._attempt.wait(Ask(key, prompt, payload, timeout))
        self._journal.record(asked, encode_record(answer))
        return unshared(answer)

    def _answer(self, key: str) -> Approval | None:
        given = (item for item in self._cell.approvals.values() if item.key == key and not item.pending)
        return next(given, None)

    async def _asked(self, make: Callable[[], Awaitable[_T]]) -> _T:
        """Make a step; what the function must not handle ends the attempt."""
        await self._attempt.refuse_late()
        if self._turn.calls.is_inside:
            message = "a step is made within another step"
            raise UsageError(message, hint="let the function make its steps one after the other, or at once")
        branch.current()  # its first step says which branch it is
        with self._attempt.asking():
            try:
                made = await make()
                await self._attempt.refuse_late()
            except _STOPS as error:
                stopped = error
            else:
                return made
        return await self._attempt.stop(stopped)


def _named(name: str, fn: Callable[..., Any] | Tool) -> Tool:
    """The tool of a step."""
    check_name(name, "name")
    if name.startswith(_RESERVED):
        message = f"the name {name!r} begins like those of the kernel's own steps"
        raise UsageError(message, hint="use another name")
    if not isinstance(fn, Tool) and not hasattr(fn, "__qualname__"):
        return tool(name=name)(fn)
    made = copy.copy(as_tool(fn))
    made.name = name
    return made
