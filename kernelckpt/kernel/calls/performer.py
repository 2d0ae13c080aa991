"""Making one call: its intent durable before, its outcome durable after, a later try if it may have one."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, TypeAlias

import anyio
import msgspec
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec.structs import replace

from kernelckpt.abc import Clock
from kernelckpt.codec.value import check_size
from kernelckpt.errors import ToolError, TurnEnded
from kernelckpt.kernel.calls.call_record import given_up, settled
from kernelckpt.kernel.calls.charging import charged
from kernelckpt.kernel.calls.tool import Tool
from kernelckpt.kernel.cancellation import absorb_cancellation, is_cancelled, was_cancelled_here
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.error_text import error_text
from kernelckpt.kernel.turn.calls import is_cut_off_by_gate
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.task_state import StateKind

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a call."""


class Call(msgspec.Struct, frozen=True):
    """What is to be called for whom, and under which number the ledger keeps it."""

    task_id: str
    number: int
    tool: Tool
    arguments: Arguments


CallTool: TypeAlias = Callable[[Tool, Call, Effect], Awaitable[Any]]
"""Makes one call: of a tool or of its probe, for a call of the ledger, which stands as its entry says."""


async def call_tool(tool: Tool, call: Call, effect: Effect) -> Any:
    """Call the tool's own function."""
    return await tool.run(*call.arguments, effect.token)


SHOWN_BYTES = 1024
"""Arguments of a program's call up to this size are kept for whoever has to decide on it; larger ones would
make the intent of a call cost more than the turn."""


class Durability(msgspec.Struct, frozen=True):
    """How the hooks of a kernel keep what it has committed.

    Attributes:
        wait: returns when commits up to a number are as durable as outputs in general need them.
        wait_kept: returns when they are durable, whatever the hooks are set to.
        keeps: false if the state is brought back by hooks none of which can keep anything for certain.
    """

    wait: Callable[[int], Awaitable[None]]
    wait_kept: Callable[[int], Awaitable[None]]
    keeps: bool


class Performer:
    """Makes calls, and writes down what is known of them.

    Attributes:
        call_tool: makes the call itself; tests put another one in its place.
    """

    def __init__(self, core: Core, durability: Durability) -> None:
        self.call_tool: CallTool = call_tool
        self._core = core
        self._durability = durability

    def refusal(self, tool: Tool) -> str:
        """Why a call must not even be planned here; "" if it may be."""
        if tool.effect is EffectPolicy.IDEMPOTENT or self._durability.keeps:
            return ""
        return f"{tool.name} must not be done twice, and no hook of this scheduler keeps what was done"

    async def perform(self, call: Call, effect: Effect) -> Effect:
        """Write the intent, call, write the outcome.

        Returns:
            The entry of the ledger: decided; or planned, to be tried again; or begun, if it is in doubt.
        """
        await checkpoint_if_cancelled()
        cell = self.cell_at_work(call.task_id)
        parent = self._core.state.row(call.task_id).parent
        started = self._started(call, effect)
        await self.write(call.task_id, call.number, started)
        await checkpoint_if_cancelled()  # it may have become durable just as the task was cancelled
        done = self._core.redactor.record(await self._outcome(started, call))
        is_kept = self._core.state.find_cell(call.task_id) is cell
        done = charged(self._core, call.task_id if is_kept else None, parent, done, call.tool)
        if is_kept and call.number in cell.effects:
            await self.write(call.task_id, call.number, done)
        elif call.tool.charge is not None:
            self._core.state.commit(urgent=False)
        return done

    def _started(self, call: Call, effect: Effect) -> Effect:
        token = effect.token or (self._token(call.task_id, effect) if call.tool.takes_key else "")
        policy, runs = call.tool.effect, effect.runs + 1
        return replace(effect, status=EffectStatus.STARTED, policy=policy, runs=runs, token=token, error="")

    async def _outcome(self, started: Effect, call: Call) -> Effect:
        tool = call.tool
        try:
            if tool.timeout is None:
                return self._kept(started, tool, await self.call_tool(tool, call, started))
            with _alarm(self._core.clock, tool.timeout) as scope:
                return self._kept(started, tool, await self.call_tool(tool, call, started))
            assert scope.cancelled_caught, "nothing else leaves it without a value"
            return self._timed_out(started, tool)
        except CancelledError as error:
            if is_cancelled() or self._core.is_stopping() or (not started.call_id and was_cancelled_here()):
                raise  # nobody knows what became of the call: it stays begun
            absorb_cancellation()
            return self._raised(started, tool, error)
        except (Exception, SystemExit) as error:  # whatever it raised is its outcome
            if not started.call_id and is_cut_off_by_gate(error):
                raise  # it stays begun: the rest of it can be done when somebody has decided
            return self._raised(started, tool, error)

    def returned(self, started: Effect, tool: Tool, value: Any) -> Effect:
        """The entry of a call that returned a value.

        Raises:
            InvalidValueError: the value cannot be kept.
        """
        path = f"the value of {tool.name}"
        data = self._core.redactor.value(tool.returns, value, path)
        check_size(data, path)
        return settled(started, EffectStatus.RETURNED, outcome=data)

    def _kept(self, started: Effect, tool: Tool, value: Any) -> Effect:
        """The entry of a call that has returned; if that cannot be kept it has happened all the same."""
        try:
            return self.returned(started, tool, value)
        except Exception as error:  # noqa: BLE001 - a model of the user's may raise anything
            text = f"it was called, and returned what cannot be kept: {error_text(error)}"
            return given_up(replace(started, tries=started.tries + 1, error=text))

    def _raised(self, started: Effect, tool: Tool, error: BaseException) -> Effect:
        kind = error.kind if isinstance(error, ToolError) else ""
        failed = replace(started, tries=started.tries + 1, error=error_text(error), error_kind=kind)
        if failed.tries >= tool.retry.attempts:
            return given_up(failed)
        return self._later(failed, tool)

    def _timed_out(self, started: Effect, tool: Tool) -> Effect:
        """A call that took too long may have happened."""
        error = f"TimeoutError: no answer within {tool.timeout:g} s"
        failed = replace(started, tries=started.tries + 1, error=error)
        if failed.tries < tool.retry.attempts:
            return self._later(failed, tool)
        return given_up(failed) if started.policy is EffectPolicy.IDEMPOTENT else failed

    def _later(self, failed: Effect, tool: Tool) -> Effect:
        """To be tried again after a pause; one that is to be probed before stays begun."""
        at = self._core.clock.wall_ms() + tool.retry.pause_ms(failed.tries)
        is_open = failed.policy is EffectPolicy.PROBE
        status = EffectStatus.STARTED if is_open else EffectStatus.PLANNED
        return replace(failed, status=status, retry_at_ms=at, error_kind="")

    async def pause(self, effect: Effect, tool: Tool) -> None:
        """Wait until a call may be tried again; a clock that was set back does not make that any longer."""
        if effect.retry_at_ms:
            left = min(effect.retry_at_ms - self._core.clock.wall_ms(), tool.retry.pause_ms(effect.tries))
            if left > 0:
                await self._core.clock.sleep(left / 1000)

    async def write(self, task_id: str, number: int, effect: Effect) -> None:
        """Write an entry down; durable on return if the call must not be repeated, or outputs are durable."""
        self._core.state.put(("effect", task_id, number), effect)
        commit = self._core.state.commit()
        if effect.policy is EffectPolicy.IDEMPOTENT:
            await self._durability.wait(commit)
        else:
            await self._durability.wait_kept(commit)

    def cell_at_work(self, task_id: str) -> Cell:
        """The records of a task that is at work.

        Raises:
            TurnEnded: it is not.
        """
        row = self._core.state.table.get(task_id)
        if row is None or row.state.kind not in {StateKind.RUNNING, StateKind.BLOCKED}:
            message = f"task {task_id!r} is not at work: no call is begun for it"
            raise TurnEnded(message, hint="await calls within the turn that makes them")
        return self._core.cell(task_id)

    def _token(self, task_id: str, effect: Effect) -> str:
        """What tells the other side that a call is repeated, and not another one alike."""
        if effect.key:
            return effect.key
        began = self._core.state.row(task_id).budget.started_at_ms  # a later task of the same id is another
        place = (effect.turn, effect.within, effect.name, effect.call_id, effect.digest, effect.occurrence)
        named = msgspec.msgpack.encode((self._core.settings.run_id, task_id, began, place))
        return blake2b(named, digest_size=16).hexdigest()


@contextmanager
def _alarm(clock: Clock, seconds: float) -> Iterator[anyio.CancelScope]:
    """Cancel what is within after so many seconds of a clock."""
    with anyio.CancelScope() as scope:
        alarm = asyncio.ensure_future(_sleep(clock, seconds))
        alarm.add_done_callback(lambda done: None if done.cancelled() else scope.cancel())
        try:
            yield scope
        finally:
            alarm.cancel()


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
