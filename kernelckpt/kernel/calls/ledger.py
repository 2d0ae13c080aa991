"""The effect ledger: what a program's call is known by, and whether it is made or was made before."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from kernelckpt.codec.value import check_size, dumped
from kernelckpt.errors import EffectDenied, EffectError, GovernanceDenied, InvalidValueError, UsageError
from kernelckpt.kernel.calls.call_record import argument_digest
from kernelckpt.kernel.calls.doubt import MAY_HAVE_HAPPENED, Doubt
from kernelckpt.kernel.calls.parameters import KEY_PARAMETER
from kernelckpt.kernel.calls.performer import SHOWN_BYTES, Call, Performer
from kernelckpt.kernel.calls.tool import Tool
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.governance.gate import refusal_of
from kernelckpt.kernel.question import question_about
from kernelckpt.kernel.turn.calls import Gated, TurnCalls
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.governance import AskUser, GovernedCall

OTHER_PATH = "an earlier attempt at this turn went another way"

NOT_KEPT_HINT = "use CheckpointHook or a hook with `durable`, run without hooks, or declare it idempotent"


class Ledger:
    """Makes calls on behalf of programs."""

    def __init__(self, core: Core, performer: Performer, doubt: Doubt) -> None:
        self._core = core
        self._performer = performer
        self._doubt = doubt

    async def call(
        self,
        task_id: str,
        tool: Tool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        calls: TurnCalls,
        *,
        is_by_name: bool = False,
    ) -> Any:
        """Make a program's call, or give back what it returned when it was made before.

        Args:
            task_id: the task in whose turn it is made.
            tool: what to call.
            args: its positional arguments.
            kwargs: its keyword arguments.
            calls: the calls of its turn; this one is counted.
            is_by_name: whether it is one of the scheduler's, whose arguments must be of the declared types.

        Raises:
            EffectError: it raised, now or then.
            EffectDenied: it was in doubt or gated, and it was decided that it is not to be made.
            GovernanceError: governance does not let it be made, or not before a human says so.
            InvalidValueError: its arguments cannot be kept, or do not fit the tool.
            UsageError: it cannot be told from another one, or must not be made here.
            TurnEnded: the task has ended; nothing was called.
        """
        await calls.admit()
        self._core.redactor.refuse([tool.name, tool.key], "the call's name")
        given = self._given(tool, args, kwargs, is_by_name=is_by_name)
        encoded = self._core.redactor.encoded(given, f"arguments of {tool.name}")
        asked, number = calls.count(tool.name, argument_digest(encoded), tool.key)  # no secret shows in it
        if number is None and encoded is not given and not tool.key:  # made before there was a redaction?
            _, number = calls.count(tool.name, argument_digest(given), tool.key)
        with calls.alone(asked):
            cell = self._performer.cell_at_work(task_id)
            known = cell.effects.get(number) if number is not None else None
            if known is None or number is None:
                number, known = (
                    cell.take_number(),
                    replace(asked, policy=tool.effect, is_registered=is_by_name),
                )
                call = GovernedCall(tool.name, "", tool.named(given) if self._is_governed else {})
                await self._admit(task_id, call, Gated(number, replace(known, arguments=encoded), ""), calls)
                calls.note(asked, number)
            if not known.decided:
                is_shown = tool.effect is not EffectPolicy.IDEMPOTENT and len(encoded) <= SHOWN_BYTES
                known = replace(known, arguments=encoded if is_shown else b"")  # for who has to decide on it
                known = await self._made(Call(task_id, number, tool, (args, kwargs)), known, calls)
        return replayed(known, tool)

    @property
    def _is_governed(self) -> bool:
        return self._core.gate.governance is not None

    async def _admit(self, task_id: str, call: GovernedCall, planned: Gated, calls: TurnCalls) -> None:
        """Ask whether a call may be made that is new: governance, as it is given, and the path so far."""
        reasons, effect = [], planned.effect
        if self._is_governed:
            verdict = self._core.gate.judge(self._core.state.row(task_id), call)
            self._core.state.commit(urgent=False)
            refusal = refusal_of(verdict, effect.name)
            if refusal is not None:
                calls.uncount(effect)
                raise refusal
            if isinstance(verdict, AskUser):
                reasons.append(verdict.reason)
        left: tuple[int, ...] = ()
        if calls.admits_new is not None:
            await calls.admits_new(effect, planned.number)
        elif effect.policy is not EffectPolicy.IDEMPOTENT:
            left = await calls.left()
        if left:
            reasons.append(OTHER_PATH)
        if reasons:
            raise await calls.gate(replace(planned, reason="; ".join(reasons), left=left))

    async def _made(self, call: Call, effect: Effect, calls: TurnCalls) -> Effect:
        """Bring a call to its outcome, as part of its turn."""
        question = question_about(call.number, self._core.cell(call.task_id).approvals.values())
        if question is not None:
            raise await calls.gate(Gated(call.number, effect, "").because_of(question))

        async def perform(call: Call, planned: Effect) -> Effect:
            await calls.admit()  # it may have waited
            try:
                with calls.under_way(call.number):
                    return await self._performer.perform(call, planned)
            except (GovernanceDenied, BaseExceptionGroup):  # a call that this one makes waits for a human
                await calls.quiet()
                raise

        done = await self._doubt.settle(call, effect, perform)
        if done.in_doubt:
            raise await calls.gate(Gated(call.number, done, done.error or MAY_HAVE_HAPPENED))
        if done.runs == effect.runs:
            calls.pass_over_parts(call.number)
        return done

    def _given(self, tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_by_name: bool) -> bytes:
        """The arguments in msgpack, once it is clear that a call may be made with them."""
        refusal = self._performer.refusal(tool)
        if refusal:
            raise UsageError(refusal, hint=NOT_KEPT_HINT)
        if tool.takes_key and KEY_PARAMETER in kwargs:
            hint = 'give the key as `tool(fn).options(key="...")`'
            raise UsageError(f"{KEY_PARAMETER} of {tool.name} is given by the ledger", hint=hint)
        with self._core.redactor.errors():
            given = _encoded(args, kwargs, tool.name)
            check_size(given, f"arguments of {tool.name}")
            if is_by_name:
                tool.parameters.bound(msgspec.msgpack.decode(given)[1])
        return given


def replayed(effect: Effect, tool: Tool) -> Any:
    """What a decided call gives its caller: alike when it was just made and when it is only remembered.

    Raises:
        EffectError: it raised.
        EffectDenied: it was not to be made.
    """
    if effect.status is EffectStatus.RETURNED:
        return tool.returns.decode(effect.outcome, f"the value of {effect.name}")
    facts = {"name": effect.name, "error": effect.error}
    if effect.status is not EffectStatus.DENIED:
        raise EffectError(f"{effect.name} failed: {effect.error}", **facts)
    message = f"{effect.name} was not to be done{' again' if effect.runs else ''}: {effect.error}"
    raise EffectDenied(message, **facts, may_have_happened=effect.runs > 0)


def _encoded(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> bytes:
    try:
        return _encoder.encode([args, kwargs])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        hint = "pass plain data; reach clients through turn.deps or a closure"
        message = f"an argument of {name}: {error}"
        raise InvalidValueError(message, path=f"arguments of {name}", hint=hint) from error


_encoder = msgspec.msgpack.Encoder(order="deterministic", enc_hook=dumped)
