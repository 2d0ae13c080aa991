"""The part of a turn that stages changes of the task's context and state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from msgspec.structs import replace

from kernelckpt.codec.record import PARTITIONS
from kernelckpt.errors import InvalidValueError, TurnEnded, UsageError
from kernelckpt.kernel.argument import check_amount, check_text, encoded_message, kept, listed
from kernelckpt.kernel.capability_change import kept_capabilities
from kernelckpt.kernel.context import compaction
from kernelckpt.kernel.context.compression import Compression
from kernelckpt.kernel.context.plan_update import PlanUpdate
from kernelckpt.kernel.context.pressure import CompressionAction
from kernelckpt.kernel.context.render import RenderedContext
from kernelckpt.kernel.context.spooling import spooled_output
from kernelckpt.kernel.turn import ending
from kernelckpt.kernel.turn.reading import TurnReads
from kernelckpt.model.capability import CapabilityDescriptor, CapabilityKind
from kernelckpt.model.context import ContextMeter, Handoff, PlanStep
from kernelckpt.model.event import SessionEvent
from kernelckpt.model.kernel import Value
from kernelckpt.model.message import Message
from kernelckpt.model.os_event import PageIn

_L = TypeVar("_L", bound=StrEnum)


class TurnContext(TurnReads):
    """What a turn says, notes and plans; nothing of it is state before the turn is committed."""

    _ending: ending.Next | None = None
    _over = False

    def say(self, text: str) -> None:
        """Stage an assistant message."""
        self._still_open("say")
        self._staged.append("history", self._core.redactor.said(text))

    def append(self, message: Message, *, partition: str = "history") -> None:
        """Stage a message for a partition of the context: "history", "system" or "knowledge".

        Raises:
            InvalidValueError: it holds what cannot be kept exactly.
        """
        self._still_open("append")
        if partition not in PARTITIONS:
            raise UsageError(f"no partition {partition!r}", hint="history, system or knowledge")
        self._staged.append(partition, self._encoded(message, "message"))

    def set_state(self, state: Any) -> None:
        """Stage a new state of the program.

        Raises:
            InvalidValueError: it is not of the declared type, or cannot be kept exactly.
        """
        self._still_open("set_state")
        data = self._core.redactor.value(self._program.state, state, "state")
        self._staged.value = Value(data, self._program.version)

    def plan(self, steps: Sequence[str | PlanStep], *, current_step: int | None = None) -> None:
        """Stage a new plan; steps given as text are not done yet."""
        self._still_open("plan")
        given = [step if isinstance(step, PlanStep) else PlanStep(step) for step in listed(steps, "steps")]
        made = tuple(kept(step, PlanStep, f"steps[{index}]") for index, step in enumerate(given))
        _check_step(current_step, len(made))
        self._staged.plan += (lambda plan: replace(plan, plan=made, current_step=current_step),)

    def progress(self, text: str) -> None:
        """Stage a new progress note."""
        self._still_open("progress")
        check_text(text, "progress")
        self._staged.plan += (lambda plan: replace(plan, progress=text),)

    def update_plan(self, update: PlanUpdate) -> None:
        """Stage new values of any fields of the goal/plan record; what is not given stays.

        Raises:
            InvalidValueError: it is no update, or holds what cannot be kept exactly.
            UsageError: the current step would not be one of the steps.
        """
        self._still_open("update_plan")
        given = kept(update, PlanUpdate, "update")
        plan = given.applied_to(self._staged.plan_after(self.context.plan))
        _check_step(plan.current_step, len(plan.plan))
        self._staged.plan += (given.applied_to,)

    def directive(self, text: str) -> None:
        """Stage a standing instruction; the newest eight are kept."""
        self._still_open("directive")
        check_text(text, "directive")
        self._staged.plan += (lambda plan: plan.with_directive(text),)

    # what grows in the context

    def compact(self, action: CompressionAction | None = None, *, force: bool = False) -> Compression:
        """Stage a compression of the history, and see what it does; what is staged after it stays whole.

        The stages run from the weakest to the strongest and stop when the context is down to its target.

        Args:
            action: the strongest stage to run; None for the one that the pressure recommends, if any.
            force: run them as far as they go, whatever the pressure.

        Returns:
            What stays, what was dropped (keep it elsewhere if it is needed: it is not in the history any
            more), and the notes that stay in the plan's log of compressions.

        Raises:
            InvalidValueError: there is no such stage.
        """
        self._still_open("compact")
        last = None if action is None else label(action, CompressionAction, "action")
        return compaction.stage_compression(self._cell, self._staged, last, force=force)

    def renew(self) -> Handoff:
        """Stage a new sprint: system and knowledge whole, the plan, and the newest of the history.

        Returns:
            What the next sprint is told of this one.
        """
        self._still_open("renew")
        return compaction.stage_renewal(self._cell, self._staged)

    def observed(self, prompt_tokens: int) -> None:
        """Stage how many tokens the provider counted in the last prompt; pressure goes by it from now on.

        Raises:
            InvalidValueError: not a whole number of 0 or more.
        """
        self._still_open("observed")
        check_amount(prompt_tokens, "prompt_tokens", 0)
        kept(ContextMeter(prompt_tokens), ContextMeter, "prompt_tokens")
        self._staged.meter += (lambda meter: replace(meter, observed_tokens=prompt_tokens),)

    def page_in(self, *messages: Message) -> None:
        """Stage messages for the knowledge partition: what was looked up, retrieved or learnt.

        Raises:
            InvalidValueError: one holds what cannot be kept exactly.
        """
        self._still_open("page_in")
        found = [self._encoded(item, f"messages[{index}]") for index, item in enumerate(messages)]
        if found:
            self._staged.append("knowledge", *found)
            self._note(lambda turn: PageIn(turn, len(found)))

    def spooled(self, call_id: str) -> str:
        """The whole result of a call of which the history holds a preview only.

        Raises:
            UsageError: nothing of that call was put aside.
        """
        return spooled_output(self._cell, self._row.id, call_id)

    def render(self, max_tokens: int | None = None) -> RenderedContext:
        """The context as a model is to see it; its lines count as read.

        Args:
            max_tokens: how much history fits; the context's `max_tokens` by default.

        Raises:
            InvalidValueError: not a whole number of 0 or more.
        """
        if max_tokens is not None:
            check_amount(max_tokens, "max_tokens", 0)
        self.notes  # noqa: B018 - reading them is what consumes them
        return self.context.render(max_tokens)

    # what the task may use

    def mount(self, *capabilities: CapabilityDescriptor) -> None:
        """Stage capabilities that the task may use from the next turn on.

        Raises:
            InvalidValueError: one cannot be kept exactly.
        """
        self._still_open("mount")
        with self._core.redactor.errors():
            kept_ones = kept_capabilities(capabilities, "capabilities")
        redactor = self._core.redactor
        given = [redactor.admitted(item, f"capabilities[{n}]") for n, item in enumerate(kept_ones)]
        self._staged.capabilities += (lambda manifest: manifest.upsert(*given),)

    def unmount(self, kind: CapabilityKind | str, capability_id: str) -> None:
        """Stage that the task may not use a capability any more.

        Raises:
            InvalidValueError: there is no such kind.
        """
        self._still_open("unmount")
        wanted = label(kind, CapabilityKind, "kind")
        check_text(capability_id, "capability_id")
        self._staged.capabilities += (lambda manifest: manifest.without(wanted, capability_id),)

    def _encoded(self, message: Message, name: str) -> bytes:
        redactor = self._core.redactor
        with redactor.errors():
            return redactor.message(encoded_message(message, name), name)

    def _note(self, event: Callable[[int], SessionEvent]) -> None:
        """Stage an event, made once the kernel's turn is known; raises if it is not one that can be kept."""
        made = event(0)
        self._core.redactor.admitted(kept(made, type(made), type(made).__name__), type(made).__name__)
        self._staged.events += (event,)

    def _still_open(self, what: str) -> None:
        if self._over:
            hint = "await everything that uses a turn before its program returns"
            raise TurnEnded(f"cannot {what}: turn {self.number} of {self._row.id!r} is over", hint=hint)
        if self._ending is not None:
            name = type(self._ending).__name__
            raise TurnEnded(
                f"cannot {what}: the turn has ended in {name}", hint="return right after the ending"
            )


def label(given: Any, kind: type[_L], name: str) -> _L:
    """A label of a kind, given as itself or as its text.

    Raises:
        InvalidValueError: there is none of that text.
    """
    try:
        return kind(given)
    except ValueError as error:
        hint = f"one of {', '.join(kind)}"
        raise InvalidValueError(f"{name}: {given!r}", path=name, hint=hint) from error


def _check_step(current: int | None, steps: int) -> None:
    if current is not None and (type(current) is not int or not 0 <= current < steps):
        raise UsageError(f"current_step {current} of {steps} steps", hint="it is an index into steps")
