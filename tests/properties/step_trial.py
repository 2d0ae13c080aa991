"""A straight-line function that follows a script through all its lives; an outside, a storage that dies."""

import asyncio
from collections import Counter

from crash_trial import DyingStorage
from hypothesis import strategies as st

from kernelckpt import CheckpointHook, MemoryStorage, NotDone, Scheduler, straight_line, tool
from kernelckpt.errors import EffectError, FencedError
from kernelckpt.testing import ManualClock

_ROUNDS = 150

STEPS = st.tuples(st.sampled_from(["ask", "probe", "idempotent", "raises"]), st.integers(0, 2))
WAITS = st.tuples(st.sampled_from(["sleep", "receive", "approval"]), st.integers(0, 2))


def scripts():
    """Steps, waits, and branches of steps and sleeps that run side by side."""
    branch = st.lists(
        st.one_of(STEPS, st.tuples(st.just("sleep"), st.integers(0, 2))), min_size=1, max_size=3
    )
    branches = st.lists(branch, min_size=2, max_size=3).map(lambda found: ("branches", found))
    return st.lists(st.one_of(STEPS, WAITS, branches), min_size=1, max_size=7)


class StepTrial:
    """One task that plays a script; each death is after how many writes, and whether the last was written.

    Attributes:
        calls: how often each call was made, by its name in the script.
        crashes: how many lives ended in a crash.
    """

    def __init__(self, script, *, deaths=()):
        self.calls = Counter()
        self.crashes = 0
        self._script = script
        self._deaths = list(deaths)
        self._storage = MemoryStorage()
        self._clock = ManualClock()

    async def run(self):
        """Every life until the task has ended; its result."""
        while True:
            death = self._deaths.pop(0) if self._deaths else None
            storage = DyingStorage(self._storage, death[0], written=death[1]) if death else self._storage
            try:
                return await self._live(storage)
            except FencedError:
                self.crashes += 1
                self._clock = ManualClock(self._clock.wall_ms() - 1000)  # it may have been set back, too

    async def _live(self, storage):
        hook = CheckpointHook(storage, takeover=True, signals=(), stop_signals=())
        programs = {"p": straight_line(self._play)}
        async with Scheduler(programs, run_id="run", hooks=[hook], clock=self._clock) as kernel:
            while True:
                await kernel.submit("p", task_id="t")  # also tells a halted kernel
                for _ in range(_ROUNDS):
                    await asyncio.sleep(0)
                row = kernel.tasks.get("t")
                if row.state.is_terminal():
                    return await kernel.join("t")
                if row.wait is not None and row.wait.note == "message":
                    name = f"message {row.budget.turns}"
                    await kernel.send("t", "message", key=name)
                await self._answer(kernel)
                await self._clock.advance(1)

    async def _answer(self, kernel):
        """Answer what is asked; a call in doubt is made again exactly when it was not made."""
        for item in kernel.approvals():
            if item.key.startswith("effect:") and self.calls[place := item.payload["arguments"][0]]:
                await kernel.approve("t", item.key, outcome=f"{place} was made")
            else:
                await kernel.approve("t", item.key, by="ada")

    # the function

    async def _play(self, run):
        return [await self._act(run, f"{at}", act) for at, act in enumerate(self._script)]

    async def _act(self, run, place, act):
        kind, detail = act
        match kind:
            case "branches":
                return await asyncio.gather(
                    *[self._branch(run, f"{place}.{n}", acts) for n, acts in enumerate(detail)]
                )
            case "sleep":
                return await run.sleep(detail)
            case "receive":
                return (await run.receive()).text
            case "approval":
                return (await run.ask_approval(f"question {detail}", "Well?")).by
        try:
            return await run.step(kind, self._tool(kind), place)
        except EffectError as error:
            return error.error

    async def _branch(self, run, place, acts):
        return [await self._act(run, f"{place}.{at}", act) for at, act in enumerate(acts)]

    def _tool(self, kind):
        if kind == "probe":
            return tool(name="do", probe=self._was_made)(self._make)
        if kind == "raises":
            return tool(name="do", effect="idempotent")(self._fail)
        return tool(name="do", effect=kind)(self._make)

    async def _make(self, place):
        await asyncio.sleep(0)
        self.calls[place] += 1
        await asyncio.sleep(0)
        return f"{place} was made"

    async def _fail(self, place):
        self.calls[place] += 1
        raise ValueError(place)

    async def _was_made(self, place):
        return f"{place} was made" if self.calls[place] else NotDone()


def repeatable(script, place):
    """Whether the call at a place of a script may be made more than once."""
    first, *rest = map(int, place.split("."))
    act = script[first]
    if rest:
        act = act[1][rest[0]][rest[1]]
    return act[0] in {"idempotent", "raises"}
