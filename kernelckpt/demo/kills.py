"""Which kills there will be: aimed at a moment each, in an order and at times that a seed decides."""

from __future__ import annotations

from random import Random

from kernelckpt.demo.message import Aim, Moment

_MIXED = (
    Moment.TURN,
    Moment.CALL_NOT_MADE,
    Moment.CALL_MADE,
    Moment.CALLS_DONE,
    Moment.BASE,
    Moment.JOIN,
    Moment.ANY,
    Moment.ANY,
)
_LAST = 0.9
"""No kill but the last is aimed beyond this share of the turns, so that there is still something to hit."""


def kill_plan(turns: int, seed: int, bare: bool) -> list[Aim]:
    """The kills of a run that takes so many turns, in order.

    No base is written on bare asyncio: that kill comes at no chosen place there.
    """
    chance = Random(seed)  # noqa: S311 - to be repeatable
    moments = list(_MIXED)
    chance.shuffle(moments)
    aims = []
    for place, moment in enumerate(moments):
        share = _LAST * (place + chance.random()) / len(moments)
        aims.append(Aim(Moment.ANY if bare and moment is Moment.BASE else moment, int(turns * share)))
    middle = len(aims) // 2
    aims.insert(middle, Aim(Moment.RESTORE, aims[middle - 1].turns))
    aims.append(Aim(Moment.APPROVAL, 0))
    return aims
