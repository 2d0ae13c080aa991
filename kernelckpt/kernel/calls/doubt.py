"""Calls in doubt: begun, and nobody knows what became of them. Who decides, and on what."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from kernelckpt.kernel.calls.call_record import given_up, settled
from kernelckpt.kernel.calls.charging import charged
from kernelckpt.kernel.calls.performer import Call, Performer
from kernelckpt.kernel.calls.tool import NotDone, Tool
from kernelckpt.kernel.cancellation import absorb_cancellation, is_cancelled
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.error_text import error_text
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus

MAY_HAVE_HAPPENED = "it was begun before and may have happened"


def policy_of(effect: Effect, tool: Tool) -> EffectPolicy:
    """What may be done: what the call was declared as when it was begun, unless that is not to be had now.

    One that was idempotent is repeated only if it still is.
    """
    if effect.policy is EffectPolicy.IDEMPOTENT:
        return tool.effect
    if effect.policy is EffectPolicy.PROBE and tool.probe is None:
        return EffectPolicy.ASK
    return effect.policy


class Doubt:
    """Finds out about calls in doubt, as their policies say."""

    def __init__(self, core: Core, performer: Performer) -> None:
        self._core = core
        self._performer = performer

    async def settle(
        self, call: Call, effect: Effect, perform: Callable[[Call, Effect], Awaitable[Effect]]
    ) -> Effect:
        """Bring a call to its outcome: decide what is in doubt, wait when it is to be tried later, make it.

        Args:
            call: the call.
            effect: its entry in the ledger.
            perform: makes it when it is planned, and gives its entry.

        Returns:
            Its entry: decided, or still begun if only a human can say what became of it.
        """
        while not effect.decided:
            await self._performer.pause(effect, call.tool)
            if not effect.in_doubt:
                effect = await perform(call, effect)
                continue
            effect = await self._decide(call, effect)
            if effect.in_doubt:
                break
        return effect

    async def _decide(self, call: Call, effect: Effect) -> Effect:
        """What is known of a call in doubt once its policy was followed.

        Returns:
            Its entry: decided; or planned, to be made; or still begun, if only a human can say.
        """
        policy = policy_of(effect, call.tool)
        if policy is EffectPolicy.IDEMPOTENT:
            return replace(effect, status=EffectStatus.PLANNED)  # its next intent says so
        if policy is EffectPolicy.FAIL:
            text = effect.error or MAY_HAVE_HAPPENED
            decided = settled(effect, EffectStatus.DENIED, error=text)
        elif policy is EffectPolicy.PROBE:
            decided = await self._probed(call, effect)
        else:
            return effect
        if decided.decided:
            self._performer.cell_at_work(call.task_id)
            parent = self._core.state.row(call.task_id).parent
            decided = charged(self._core, call.task_id, parent, decided, call.tool)
            await self._performer.write(call.task_id, call.number, decided)
        return decided

    async def _probed(self, call: Call, effect: Effect) -> Effect:
        """Ask the other side, several times if it does not answer and the call may be retried."""
        failure = ""
        for tries in range(1, call.tool.retry.attempts + 1):
            try:
                return await self._answered(call, effect)
            except CancelledError as error:
                if is_cancelled() or self._core.is_stopping():
                    raise
                absorb_cancellation()
                failure = error_text(error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raised, it does not know
                failure = error_text(error)
            if tries < call.tool.retry.attempts:
                await self._core.clock.sleep(call.tool.retry.pause_ms(tries) / 1000)
        text = f"{effect.error or MAY_HAVE_HAPPENED}; its probe raised {failure}"
        return self._core.redactor.record(replace(effect, error=text))

    async def _answered(self, call: Call, effect: Effect) -> Effect:
        tool = call.tool
        assert tool.probe is not None, "a policy to probe has a probe"
        value = await self._performer.call_tool(tool.probe, call, effect)
        if not (isinstance(value, NotDone) or value is NotDone):
            return self._core.redactor.record(self._performer.returned(effect, tool, value))
        is_last = effect.tries >= tool.retry.attempts
        return given_up(effect) if is_last else replace(effect, status=EffectStatus.PLANNED)
