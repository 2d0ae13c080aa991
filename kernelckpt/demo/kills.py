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
_NOT_ON_BARE = {Moment.BASE, Moment.RESTORE}
_LAST = 0.9
"""No kill but the last is aimed beyond this share of the turns, so that there is still something to hit."""


def kill_plan(turns: int, seed: int, *, bare: bool = False) -> list[Aim]:
    """The kills of a run that takes so many turns, in order.

    A kill that has no counterpart on bare asyncio (no base is written there, nothing comes back) comes at
    no chosen place instead.
    """
    chance = Random(seed)  # noqa: S311 - to be repeatable
    moments = list(_MIXED)
    chance.shuffle(moments)
    aims = []
    for place, moment in enumerate(moments):
        share = _LAST * (place + chance.random()) / len(moments)
        aims.append(Aim(moment, int(turns * share)))
    aims.insert(len(aims) // 2, Aim(Moment.RESTORE, 0))
    aims.append(Aim(Moment.APPROVAL, 0))
    if bare:
        return [Aim(Moment.ANY, aim.turns) if aim.moment in _NOT_ON_BARE else aim for aim in aims]
    return aims
