"""What a kernel takes for granted of the calls and questions it goes on from, checked before it does."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import DecodeError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.question import EFFECT_KEY
from kernelckpt.model.effect import Effect, EffectStatus

_PLAIN = ValueCodec()
_LONGEST_NUMBER = 19


def call_faults(task_id: str, cell: Cell) -> Iterator[str]:
    """What a task lacks, in words: values that can be read, and the calls that its questions are about."""
    for effect in cell.effects.values():
        try:
            _read(effect)
        except DecodeError as error:
            yield f"what can be read of call {effect.name!r} of task {task_id!r} ({error.message})"
    if cell.milestone is not None and cell.milestone.output is not None:
        try:
            _PLAIN.decode(cell.milestone.output, "output")
        except DecodeError as error:
            yield f"an output of task {task_id!r} that can be read ({error.message})"
    for item in cell.approvals.values():
        if item.key.startswith(EFFECT_KEY) and number_in(item.key) not in cell.effects:
            yield f"the call that the question {item.key!r} of task {task_id!r} is about"


def _read(effect: Effect) -> None:
    """Decode what the kernel will decode of a call."""
    if effect.arguments or effect.call_id:
        arguments = _PLAIN.decode(effect.arguments, "arguments")
        if not effect.call_id and not _are_positional_and_named(arguments):
            raise DecodeError("arguments: not [positional, named]", path="arguments")
    if effect.status is EffectStatus.RETURNED:
        _PLAIN.decode(effect.outcome, "outcome")


def _are_positional_and_named(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], list)
        and isinstance(value[1], dict)
    )


def number_in(key: str) -> int | None:
    """The number of the call that a question's key names; None when it names none."""
    number = key.removeprefix(EFFECT_KEY).partition(".")[0]
    is_number = number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER
    return int(number) if is_number else None
