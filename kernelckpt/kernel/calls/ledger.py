"""The effect ledger: calls with consequences, their intent durable before, their outcome durable after."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec.structs import replace

from kernelckpt.errors import (
    EffectDenied,
    EffectError,
    GovernanceDenied,
    InvalidValueError,
    ToolError,
    TurnEnded,
)
from kernelckpt.kernel.calls.call_record import argument_digest
from kernelckpt.kernel.calls.tool import Tool
from kernelckpt.kernel.cancellation import absorb_cancellation, is_cancelled, was_cancelled_here
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.error_text import error_text
from kernelckpt.kernel.governance.gate import refusal_of
from kernelckpt.kernel.question import question_about
from kernelckpt.kernel.turn.calls import Gated, TurnCalls, is_cut_off_by_gate
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.governance import AskUser, GovernedCall
from kernelckpt.model.task_state import StateKind

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a call."""

_SHOWN_BYTES = 1024
"""Arguments of a program's call up to this size are kept while it is under way; larger ones would make the
intent of a call cost more than the turn."""


class Ledger:
    """Makes calls on behalf of tasks."""

    def __init__(self, core: Core, durable: Callable[[int], Awaitable[None]]) -> None:
        """`durable(n)` returns when everything up to commit n is."""
        self._core = core
        self._durable = durable

    async def call(
        self, task_id: str, tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any], calls: TurnCalls
    ) -> Any:
        """Make a program's call, or give back what it returned when it was made before.

        Args:
            task_id: the task in whose turn it is made.
            tool: what to call.
            args: its positional arguments.
            kwargs: its keyword arguments.
            calls: the calls of its turn; this one is counted.

        Raises:
            EffectError: it raised, now or then.
            EffectDenied: it was in doubt or gated, and somebody decided that it is not to be made.
            GovernanceError: governance does not let it be made, or not before a human says so.
            InvalidValueError: its arguments cannot be kept.
            TurnEnded: the task has ended; nothing was called.
        """
        await calls.admit()
        self._core.redactor.refuse(tool.name, "the call's name")
        given = self._encoded(args, kwargs, tool.name)
        encoded = self._core.redactor.encoded(given, f"arguments of {tool.name}")
        digest = argument_digest(encoded)  # it, too, gives no secret away
        occurrence, number = calls.count(tool.name, digest)
        if number is None and encoded is not given:  # made before there was a redaction, perhaps
            _, number = calls.count(tool.name, argument_digest(given))
        cell = self._cell_at_work(task_id)
        known = cell.effects.get(number) if number is not None else None
        if known is None or number is None:
            number, effect = cell.take_number(), Effect(tool.name, digest, occurrence, tool.effect)
        else:
            effect = known
        if not effect.decided:
            gated = Gated(number, replace(effect, arguments=encoded), "")
            await self._pass_gate(task_id, gated, tool, calls, given=given, is_new=known is None)
            is_shown = tool.effect is EffectPolicy.ASK and len(encoded) <= _SHOWN_BYTES
            effect = replace(effect, arguments=encoded if is_shown else b"")  # for when it is in doubt
            try:
                with calls.under_way():
                    effect = await self.perform(task_id, number, effect, tool, (args, kwargs))
            except (GovernanceDenied, BaseExceptionGroup):  # a call that this one makes waits for a human
                await calls.quiet()
                raise
        return replayed(effect, tool)

    async def _pass_gate(
        self, task_id: str, call: Gated, tool: Tool, calls: TurnCalls, *, given: bytes, is_new: bool
    ) -> None:
        """Ask governance about a call that is new, as it is given; one that waits for a human still does."""
        if not is_new:
            question = question_about(call.number, self._core.cell(task_id).approvals.values())
            if question is not None:
                raise await calls.gate(call.because_of(question))
            if call.effect.status is EffectStatus.STARTED and tool.effect is EffectPolicy.ASK:
                raise await calls.gate(replace(call, reason="it was begun before and may have happened"))
            return
        if self._core.gate.governance is None:
            return
        row = self._core.state.row(task_id)
        verdict = self._core.gate.judge(row, GovernedCall(tool.name, "", tool.named(given)))
        self._core.state.commit(urgent=False)
        refusal = refusal_of(verdict, tool.name)
        if refusal is not None:
            calls.uncount(tool.name, call.effect.digest)
            raise refusal
        if isinstance(verdict, AskUser):
            raise await calls.gate(replace(call, reason=verdict.reason))

    async def perform(
        self, task_id: str, number: int, effect: Effect, tool: Tool, arguments: Arguments
    ) -> Effect:
        """Write the intent, call, write the outcome; the decided ledger entry."""
        await checkpoint_if_cancelled()
        cell = self._cell_at_work(task_id)
        started = replace(effect, status=EffectStatus.STARTED, runs=effect.runs + 1)
        await self._write(task_id, number, started)
        await checkpoint_if_cancelled()  # it may have become durable just as the task was cancelled
        done = self._core.redactor.record(await self._outcome(started, tool, arguments))
        if self._core.state.find_cell(task_id) is cell and number in cell.effects:
            await self._write(task_id, number, done)
        return done

    async def _outcome(self, started: Effect, tool: Tool, arguments: Arguments) -> Effect:
        try:
            value = await tool.run(*arguments)
            data = self._core.redactor.value(tool.returns, value, f"the value of {tool.name}")
        except CancelledError as error:
            if is_cancelled() or self._core.is_stopping() or (not started.call_id and was_cancelled_here()):
                raise  # nobody knows what became of the call: it stays begun
            absorb_cancellation()
            done = replace(started, status=EffectStatus.RAISED, error=error_text(error))
        except (Exception, SystemExit) as error:  # whatever it raised is its outcome
            if not started.call_id and is_cut_off_by_gate(error):
                raise  # it stays begun: the rest of it can be done when somebody has decided
            kind = error.kind if isinstance(error, ToolError) else ""
            done = replace(started, status=EffectStatus.RAISED, error=error_text(error), error_kind=kind)
        else:
            done = replace(started, status=EffectStatus.RETURNED, outcome=data)
        return done if done.call_id else replace(done, arguments=b"")

    def _encoded(self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> bytes:
        with self._core.redactor.errors():
            return _encoded(args, kwargs, name)

    async def _write(self, task_id: str, number: int, effect: Effect) -> None:
        self._core.state.put(("effect", task_id, number), effect)
        await self._durable(self._core.state.commit())

    def _cell_at_work(self, task_id: str) -> Cell:
        row = self._core.state.table.get(task_id)
        if row is None or row.state.kind not in {StateKind.RUNNING, StateKind.BLOCKED}:
            message = f"task {task_id!r} is not at work: no call is begun for it"
            raise TurnEnded(message, hint="await calls within the turn that makes them")
        return self._core.cell(task_id)


def replayed(effect: Effect, tool: Tool) -> Any:
    """What a decided call gives its caller: alike when it was just made and when it is only remembered.

    Raises:
        EffectError: it raised.
        EffectDenied: it was not to be made.
    """
    if effect.status is EffectStatus.RETURNED:
        return tool.returns.decode(effect.outcome, f"the value of {effect.name}")
    denied = effect.status is EffectStatus.DENIED
    kind = EffectDenied if denied else EffectError
    what = "was not to be done again" if denied else "failed"
    raise kind(f"{effect.name} {what}: {effect.error}", name=effect.name, error=effect.error)


def _encoded(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> bytes:
    try:
        return _encoder.encode([args, kwargs])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        hint = "pass plain data; reach clients through turn.deps or a closure"
        message = f"an argument of {name}: {error}"
        raise InvalidValueError(message, path=f"arguments of {name}", hint=hint) from error


def _dumped(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__name__} cannot be kept")
    return dump(mode="json")


_encoder = msgspec.msgpack.Encoder(order="deterministic", enc_hook=_dumped)
