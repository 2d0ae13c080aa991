"""The effect ledger: calls with consequences, their intent durable before, their outcome durable after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from kernelckpt.errors import EffectDenied, EffectError, InvalidValueError
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.staged import argument_digest
from kernelckpt.kernel.tool import Tool
from kernelckpt.model.effect import Effect, EffectStatus

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a call."""


class Ledger:
    """Makes calls on behalf of tasks."""

    def __init__(self, core: Core, durable: Callable[[int], Awaitable[None]]) -> None:
        """`durable(n)` returns when everything up to commit n is."""
        self._core = core
        self._durable = durable

    async def call(
        self, task_id: str, tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any], seen: dict[Any, int]
    ) -> Any:
        """Make a program's call, or give back what it returned when it was made before.

        Args:
            task_id: the task in whose turn it is made.
            tool: what to call.
            args: its positional arguments.
            kwargs: its keyword arguments.
            seen: how often each call was made in this turn; counted up.

        Raises:
            EffectError: it raised, now or then.
            EffectDenied: it was in doubt, and somebody decided not to repeat it.
            InvalidValueError: its arguments or its value cannot be kept.
        """
        digest = argument_digest(_encoded(args, kwargs, tool.name))
        occurrence = seen.get((tool.name, digest), 0)
        seen[tool.name, digest] = occurrence + 1
        cell = self._core.cell(task_id)
        known = (n for n, entry in cell.effects.items() if entry.matches(tool.name, digest, occurrence))
        number = next(known, None) or cell.take_number()
        effect = cell.effects.get(number) or Effect(tool.name, digest, occurrence, tool.effect)
        if not effect.decided:
            effect = await self.perform(task_id, number, effect, tool, (args, kwargs))
        return replayed(effect, tool)

    async def perform(
        self, task_id: str, number: int, effect: Effect, tool: Tool, arguments: Arguments
    ) -> Effect:
        """Write the intent, call, write the outcome; the decided ledger entry."""
        started = replace(effect, status=EffectStatus.STARTED, runs=effect.runs + 1)
        await self._write(task_id, number, started)
        try:
            value = await tool.run(*arguments)
            data = tool.returns.encode(value, f"the value of {tool.name}")
        except Exception as error:  # noqa: BLE001 - whatever the call raised is its outcome
            done = replace(started, status=EffectStatus.RAISED, error=f"{type(error).__name__}: {error}")
        else:
            done = replace(started, status=EffectStatus.RETURNED, outcome=data)
        await self._write(task_id, number, done)
        return done

    async def _write(self, task_id: str, number: int, effect: Effect) -> None:
        row = self._core.state.table.get(task_id)
        if row is None or row.state.is_terminal():
            return
        self._core.state.put(("effect", task_id, number), effect)
        await self._durable(self._core.state.commit())


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
