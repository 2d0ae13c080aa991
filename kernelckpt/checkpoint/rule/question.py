"""Questions: each is asked once, by its own task, and those of the kernel are about calls that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.rule.unreadable import is_unreadable
from kernelckpt.kernel.question import EFFECT_KEY, left_in
from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect
from kernelckpt.model.tcb import Tcb


def question_faults(run: DecodedRun, row: Tcb) -> Iterator[str]:
    """What is wrong with a task's questions."""
    approvals = run.records("approval", row.id, Approval).values()
    for key, count in Counter(item.key for item in approvals).items():
        if count > 1:
            yield f"it asked {count} times under {key!r}"
    for item in approvals:
        if item.task_id != row.id:
            yield f"the question {item.key!r} is that of task {item.task_id!r}"
    if is_unreadable(run, ("effect", row.id, 0)):
        return
    effects = run.records("effect", row.id, Effect)
    for item in approvals:
        if item.pending and item.key.startswith(EFFECT_KEY):
            yield from _call_faults(item, effects)


def _call_faults(item: Approval, effects: Mapping[int, Effect]) -> Iterator[str]:
    key, left = item.key, left_in(item)
    number = key.removeprefix(EFFECT_KEY).partition(".")[0]
    effect = effects.get(int(number)) if number.isascii() and number.isdecimal() else None
    if effect is None:
        yield f"the question {key!r} is about a call that is not there"
    elif effect.decided and int(number) not in left:
        yield f"the question {key!r} is about a call that is {effect.status.value} already"
