"""The outside of a kernel in the simulation: submits, sends, answers, cancels, and is cancelled itself."""

import asyncio
from contextlib import suppress

import anyio

from kernelckpt import RuntimeSignal, SchedulerBudget, SignalSource, SignalType, Urgency
from kernelckpt.errors import (
    CheckpointFailedError,
    FencedError,
    SchedulerStopped,
    UnknownTaskError,
    UsageError,
)

RACES = (SchedulerStopped, CheckpointFailedError, FencedError, UnknownTaskError, UsageError)
"""What a call may raise because the kernel stopped, or since what it is about has changed meanwhile."""


class Driver:
    """Drives one kernel until all tasks are done, or the kernel ends."""

    def __init__(self, owner):
        self.owner, self.world, self.kernel = owner, owner.world, owner.kernel
        self._chance = self.world.chance
        self._joined = set()

    async def run(self):
        async with anyio.create_task_group() as group:
            for root in sorted(self.world.roots):
                group.start_soon(self._attempt, self.submit, root)
            while not self.is_all_done():
                await asyncio.sleep(self._chance.expovariate(1 / self._chance.choice([0.002, 0.05, 1.0])))
                if self.owner.kernel._stopping.is_set():
                    break
                for root in self._roots_to_join():
                    group.start_soon(self._attempt, self.join, root)
                self._act(group)
            group.cancel_scope.cancel()

    def is_all_done(self):
        """Whether nothing can happen any more but what the outside never does."""
        table = self.kernel.tasks
        rows = [table.get(root) for root in self.world.roots]
        return all(row is not None for row in rows) and all(self._is_at_rest(row) for row in table.live())

    def _is_at_rest(self, row):
        if row.wait is None:
            return False
        if row.wait.children:
            return all(self._is_done_or_at_rest(child) for child in row.wait.children)
        return row.wait.note == "for ever"

    def _is_done_or_at_rest(self, task_id):
        row = self.kernel.tasks.get(task_id)
        return row.state.is_terminal() or self._is_at_rest(row)

    def _roots_to_join(self):
        found = [root for root in self.world.roots if root not in self._joined and root in self.kernel.tasks]
        self._joined.update(found)
        return sorted(found)

    # one thing

    def _act(self, group):
        """Begin one thing from outside, if there is something to do of the kind that chance has chosen."""
        rows = sorted(self.kernel.tasks.live(), key=lambda row: row.id)
        row = self._chance.choice(rows) if rows else None
        match self._chance.choices(range(8), (40, 15, 12, 4, 6, 6, 4, 0.7))[0]:
            case 0:
                self._answer_one(group)
            case 1 if row:
                group.start_soon(self._attempt, self.send, row.id)
            case 2 if row and row.wait is not None:
                self._end_wait(group, row)
            case 3 if row:
                group.start_soon(self._attempt, self.signal, row.id)
            case 4:
                group.start_soon(self._attempt, self.checkpoint)
            case 5:
                self.owner.look()
            case 6:
                group.start_soon(self._attempt, self.submit, self._chance.choice(sorted(self.world.roots)))
            case 7 if row and not self.owner.is_last:
                group.start_soon(self._attempt, self.cancel, row.id)

    def _end_wait(self, group, row):
        if row.wait.label() == "signal":
            group.start_soon(self._attempt, self.signal, row.id)
        elif row.wait.note == "go on":
            group.start_soon(self._attempt, self.resume, row.id)
        elif row.wait.note == "message":
            group.start_soon(self._attempt, self.send, row.id)

    def _answer_one(self, group):
        asked = self.kernel.approvals()
        if not asked:
            return
        item = self._chance.choice(sorted(asked, key=lambda item: (item.task_id, item.key)))
        if not item.key.startswith("effect:"):
            yes = self.world.answers_yes(item.task_id, item.key)
            group.start_soon(self._attempt, self.answer, item.task_id, item.key, yes)
        elif self.world.others_are_over(self.owner):
            yes = self.world.is_safe_to_repeat(item.payload["arguments"]["key"])
            group.start_soon(self._attempt, self.answer, item.task_id, item.key, yes)

    async def _attempt(self, action, *arguments):
        """Do something, unless its caller is cancelled meanwhile, at any await of it."""
        if self.owner.is_last or self._chance.random() > 0.2:
            await self._tried(action, *arguments)
            return
        task = asyncio.ensure_future(self._tried(action, *arguments))
        for _ in range(self._chance.randrange(12)):
            await asyncio.sleep(0)
        if self._chance.random() < 0.5:
            await asyncio.sleep(self._chance.expovariate(200))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _tried(self, action, *arguments):
        try:
            await action(*arguments)
        except RACES as error:
            self.world.note("refused", self.owner.name, action.__name__, *arguments, type(error).__name__)
        except Exception as error:
            self.world.fail(f"{action.__name__}{arguments} raised {error!r}")

    # what is done, and what follows once it was acknowledged

    async def submit(self, root):
        script, turns = self.world.roots[root]
        budget = SchedulerBudget(max_turns=turns)
        await self.kernel.submit("play", task_id=root, input=script, budget=budget)
        self._note("submitted", root)
        self.world.submitted.add(root)

    async def join(self, root):
        self.world.saw_result(root, await self.kernel.join(root))

    async def send(self, task_id):
        key = f"{task_id}-{self._chance.randrange(6)}"
        await self.kernel.send(task_id, key, key=key)
        self._note("sent", key)
        self.world.sent.add((task_id, key))

    async def signal(self, task_id):
        urgency = self._chance.choice(list(Urgency))
        name = f"{task_id}-{self._chance.randrange(1000)}"
        item = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, urgency, name, dedupe_key=name, id=name)
        disposition = await self.kernel.signal(item, task_id)
        self._note("signalled", name, disposition.value)

    async def answer(self, task_id, key, yes):
        call = self.kernel.approve if yes else self.kernel.deny
        await call(task_id, key)
        self._note("answered", task_id, key, yes)
        if not key.startswith("effect:"):
            self.world.answered[task_id, key] = "approved" if yes else "denied"

    async def resume(self, task_id):
        await self.kernel.resume(task_id)
        self._note("resumed", task_id)

    async def cancel(self, task_id):
        self.world.cancel_tried.add(task_id)
        await self.kernel.cancel(task_id, "no longer wanted")
        self._note("cancelled", task_id)
        self.world.cancelled.add(task_id)

    async def checkpoint(self):
        info = await self.owner.hook.checkpoint()
        self._note("checkpoint", info.sequence)

    def _note(self, *facts):
        self.world.note(facts[0], self.owner.name, *facts[1:])
