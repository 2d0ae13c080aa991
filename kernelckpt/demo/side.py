"""What the watching of a run needs of it, whether a kernel or bare asyncio runs the agents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import anyio
import msgspec
from msgspec import Struct

from kernelckpt.demo.message import Answer, Asked, Doubt, Moment, Progress, Usage
from kernelckpt.demo.pipe import Lines
from kernelckpt.demo.site import Site

PLACES = 8
"""Turns that may be at work at a time."""

_LOOK_SECONDS = 0.02
_TELL_EVERY = 5


class Question(Struct, frozen=True):
    """Something a human has to decide; `finding` is set when it is about a filing in doubt."""

    task: str
    key: str
    prompt: str
    finding: str = ""


class Side(Protocol):
    """A run as it is watched."""

    @property
    def turn(self) -> int:
        """Turns committed."""

    @property
    def ended(self) -> int:
        """Agents that have ended."""

    @property
    def joining(self) -> bool:
        """Whether the root is in its join."""

    @property
    def usage(self) -> Usage:
        """What keeping it has cost so far."""

    def questions(self) -> Sequence[Question]:
        """What a human has to decide."""

    async def answer(self, task: str, key: str, *, approve: bool) -> None:
        """Decide."""


async def watch(side: Side, site: Site) -> None:
    """Tell the parent of progress, of questions, and of the moments that no agent sees; never returns."""
    told: set[Question] = set()
    looks = 0
    while True:
        if side.joining:
            site.pass_by(Moment.JOIN)
        site.pass_by(Moment.ANY)
        for question in side.questions():
            if question not in told:
                told.add(question)
                site.tell(_report_of(question, side.turn))
        if looks % _TELL_EVERY == 0:
            site.tell(Progress(side.turn, side.ended, side.usage))
        looks += 1
        await anyio.sleep(_LOOK_SECONDS)


async def hear(side: Side, lines: Lines) -> None:
    """Pass on the parent's answers; when the parent is gone, end this process."""
    async for line in lines:
        answer = msgspec.json.decode(line, type=Answer)
        await side.answer(answer.task, answer.key, approve=answer.approve)
    os._exit(1)


def _report_of(question: Question, turn: int) -> Asked | Doubt:
    if question.finding:
        return Doubt(question.task, question.key, question.finding)
    return Asked(question.task, question.key, question.prompt, turn)
