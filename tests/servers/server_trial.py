"""A kernel of many agents, whose storage's server is killed and started again while they work."""

import asyncio
from collections import Counter

import anyio
from msgspec import Struct

from kernelckpt import CheckpointHook, LogOptions, Scheduler, load, open_storage
from kernelckpt.errors import CheckpointFailedError, OwnershipError, SchedulerStopped

AGENTS = 200
MESSAGES = 5
PATIENCE = 120
CLEAR = (CheckpointFailedError, OwnershipError)
"""What may end a kernel whose storage does not answer."""


class Outcome(Struct):
    """What became of the kernel.

    Attributes:
        errors: what ended each life that did not end in peace.
        failures: how many saves failed, in all lives.
        restarts: how often the server was killed and started again.
    """

    errors: list[Exception]
    failures: int = 0
    restarts: int = 0


class Trial:
    """Sends each agent its messages, through as many lives of the kernel as it takes.

    Args of the constructor:
        server: has `kill()` and `start()`; both may block.
        url: of an empty storage on it.
        storage: an open storage to be used instead of the URL; it is read by the URL.
        most_failures: failed saves in a row that end a kernel.
    """

    def __init__(self, server, url, *, storage=None, most_failures=1000):
        self._server = server
        self._url = url
        self._storage = storage
        self._most_failures = most_failures
        self._texts = [f"{task} {number}" for number in range(MESSAGES) for task in range(AGENTS)]
        self._stopped = False
        self._kills = [asyncio.Event() for _ in range(MESSAGES // 2)]
        self.acknowledged = set()
        self.outcome = Outcome([])

    async def run(self):
        """Kill the server again and again; what became of it all."""
        with anyio.fail_after(PATIENCE):
            while len(self.acknowledged) < len(self._texts):
                await self._live()
        await self._compare()
        return self.outcome

    async def _live(self):
        self._stopped = False
        log = LogOptions(retry_longest=0.2)
        hook = CheckpointHook(
            self._storage or self._url,
            every=0.05,
            max_consecutive_failures=self._most_failures,
            log=log,
        )
        try:
            async with (
                Scheduler({"agent": listen}, run_id="run", hooks=[hook]) as kernel,
                anyio.create_task_group() as group,
            ):
                group.start_soon(self._restart_server, hook)
                for task in range(AGENTS):
                    group.start_soon(self._send, kernel, f"{task}")
        except* CLEAR as group:
            self.outcome.errors += group.exceptions
        self.outcome.failures += hook.stats.failures

    async def _send(self, kernel, task_id):
        try:
            await kernel.submit("agent", task_id=task_id)
            for text in self._texts[int(task_id) :: AGENTS]:
                if text not in self.acknowledged:
                    await self._due(int(text.split()[1]))
                    await kernel.send(task_id, text, key=text)
                    self.acknowledged.add(text)
        except SchedulerStopped:
            self._stopped = True  # the kernel's own error says why

    async def _due(self, number):
        """Keep every second message until the server is killed: something is to be saved while it is gone."""
        if number and number % 2 == 0:
            await self._kills[number // 2 - 1].wait()

    async def _restart_server(self, hook):
        for number in range(self.outcome.restarts, len(self._kills)):
            wanted = (2 * number + 1) * AGENTS + AGENTS // 4
            await self._reached(lambda wanted=wanted: len(self.acknowledged) >= wanted)
            if self._stopped:
                return
            failures = hook.stats.failures
            await asyncio.to_thread(self._server.kill)
            self._kills[number].set()
            try:
                await self._reached(lambda failures=failures: hook.stats.failures >= failures + 2)
            finally:
                with anyio.CancelScope(shield=True):  # a kernel that stops cancels what goes on in it
                    await asyncio.to_thread(self._server.start)
                self.outcome.restarts += 1

    async def _reached(self, condition):
        """Wait until it is so, or the kernel has stopped."""
        while not (condition() or self._stopped):
            await asyncio.sleep(0.005)

    async def _compare(self):
        """Whatever was acknowledged is there, once."""
        async with open_storage(self._url) as storage:
            snapshot = await load(storage, "run")
        texts = Counter(
            message.text for context in snapshot.contexts.values() for message in context.history_messages
        )
        for entries in snapshot.inbox.values():
            texts.update(entry.message.text for entry in entries.values() if entry.message)
        assert texts == Counter(self._texts)


async def listen(turn):
    """Keep what is sent."""
    for message in turn.inbox:
        turn.append(message)
    return turn.wait_for_message()
