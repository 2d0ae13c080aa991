"""What a program keeps comes back exactly after a restart, or is refused when it is kept, by its path."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_strategies import TYPED, facts

from kernelckpt import CheckpointHook, Message, Program, Scheduler, ToolCall
from kernelckpt.errors import EffectError, InvalidValueError
from kernelckpt.storage import MemoryStorage
from kernelckpt.testing import ManualClock

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)


class Life:
    """What one task tries to keep, what of it was refused, and what came back."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.refused: dict[str, Any] = {}
        self.back: dict[str, Any] = {}

    async def keep(self, turn) -> Any:
        """The first turn: keep the value wherever values are kept."""
        self.attempt("state", lambda: turn.set_state(self.value))
        call = ToolCall("c", "t", {"v": self.value})
        self.attempt("message", lambda: turn.append(Message.assistant("x", [call])))
        try:
            self.back["outcome"] = await turn.effect(self.give)
        except EffectError as error:
            self.refused["outcome"] = error
        return turn.wait_for_message()

    def attempt(self, what: str, keep: Any) -> Any:
        try:
            return keep()
        except InvalidValueError as error:
            self.refused[what] = error

    def give(self) -> Any:
        return self.value

    def read(self, turn) -> Any:
        """After the restart: what is there; and the end of it."""
        if "state" not in self.refused:
            self.back["state"] = turn.state
        if "message" not in self.refused:
            (message,) = turn.messages
            self.back["message"] = message.tool_calls[0].arguments["v"]
        return self.attempt("output", lambda: turn.complete("", output=self.value)) or turn.complete("read")

    def check(self) -> None:
        """Each was refused by its path, or is what it was; none was lost."""
        for what, found in self.back.items():
            assert facts(found) == facts(self.value), what
        for what, error in self.refused.items():
            assert "InvalidValueError" in error.error if what == "outcome" else error.path.startswith(what)
        assert sorted([*self.refused, *self.back]) == ["message", "outcome", "output", "state"]


async def live(declared: Any, lives: dict[str, Life]) -> None:
    """Two lives of a kernel with a task for each value."""
    storage = MemoryStorage()
    is_first = True

    async def program(turn) -> Any:
        life = lives[turn.task.id]
        return await life.keep(turn) if is_first else life.read(turn)

    for is_first in (True, False):
        programs = {"keeper": Program(program, state=declared, output=declared)}
        hook = CheckpointHook(storage, every=None)
        async with Scheduler(programs, run_id="run", hooks=[hook], clock=ManualClock()) as kernel:
            for task in lives:
                await kernel.submit("keeper", task_id=task)
            await kernel.idle()
            if not is_first:
                for task in lives:
                    await kernel.send(task, "go on")
                results = await kernel.join()
                for task in lives.keys() - {task for task in lives if "output" in lives[task].refused}:
                    lives[task].back["output"] = results[task].output


@pytest.mark.may_block
@pytest.mark.parametrize("declared", TYPED, ids=str)
def test_a_value_comes_back_exactly_or_is_refused_when_it_is_kept(declared):
    kept, refused = itertools.count(), itertools.count()

    @SETTINGS
    @given(st.lists(TYPED[declared], min_size=1, max_size=6))
    def check(values):
        lives = {f"t{number}": Life(value) for number, value in enumerate(values)}
        asyncio.run(live(declared, lives))
        for life in lives.values():
            life.check()
            next(refused if "state" in life.refused else kept)

    check()
    assert next(kept) > 10, "some are kept"
    assert next(refused) > 10, "and some are not"
