"""One run through all its lives: an outside that answers its tasks, and a storage that dies."""

import asyncio

import msgspec
from crash_program import World, play, spent

from kernelckpt import (
    CheckpointHook,
    KeyRing,
    LogOptions,
    MemoryStorage,
    Retention,
    RuntimeSignal,
    Scheduler,
    SignalSource,
    SignalType,
    Urgency,
    load,
)
from kernelckpt.abc import StorageWrapper
from kernelckpt.errors import FencedError, NotFoundError
from kernelckpt.testing import ManualClock

RUN = "run"
KEYS = {"one": bytes(range(32)), "two": bytes(range(32, 64))}


class DyingStorage(StorageWrapper):
    """Passes calls on until the n-th that writes; that one is lost or written, and no answer ever comes.

    To the kernel this is a take-over: it gets no further acknowledgement.
    """

    def __init__(self, storage, nth, *, written):
        super().__init__(storage)
        self._left = nth
        self._written = written

    async def pass_on(self, call):
        if call.method not in {"append", "write_part", "finish_blob", "delete"}:
            return await call.send()
        self._left -= 1
        if self._left > 0:
            return await call.send()
        if self._left == 0 and self._written:
            await call.send()
        raise FencedError("this storage is dead")


class Trial:
    """A run of some roots; a sealed one is compressed, and encrypted with the keys of a ring in turn.

    Attributes:
        world: what the programs did.
        crashes: how many lives ended in a crash.
        excess: tokens spent in turns that a crash took, by task; what is spent stays spent.
    """

    def __init__(self, roots, *, deaths=(), max_concurrency=None, bases=False, sealed=False):
        self.world = World()
        self.crashes = 0
        self.excess = {}
        self._roots = {f"root-{number}": script for number, script in enumerate(roots)}
        self._deaths = list(deaths)
        self._max_concurrency = max_concurrency
        self._storage = MemoryStorage()
        self._clock = ManualClock()
        small = LogOptions(base_min_bytes=200, base_factor=0.1, base_max_entries=4)
        self._options = small if bases else LogOptions()
        self._keys = KeyRing(KEYS) if sealed else None

    async def run(self):
        """Every life until nothing is left to do; the state at the end."""
        while True:
            death = self._deaths.pop(0) if self._deaths else None
            storage = DyingStorage(self._storage, death[0], written=death[1]) if death else self._storage
            try:
                return await self._live(storage)
            except FencedError:
                self.crashes += 1
                await self._note_excess()

    async def _live(self, storage):
        hook = CheckpointHook(
            storage,
            takeover=True,
            log=self._options,
            retention=Retention(bases=1),
            signals=(),
            stop_signals=(),
            keys=self._keys,
            compression=3 if self._keys else None,
        )
        if self._keys is not None:
            self._keys.use("one" if self.crashes % 2 else "two")
        kernel = Scheduler(
            {"play": play},
            run_id=RUN,
            hooks=[hook],
            tools=self.world.tools,
            clock=self._clock,
            max_concurrency=self._max_concurrency,
        )
        async with kernel:
            await self._drive(kernel)
            return kernel.snapshot()

    async def _drive(self, kernel):
        while True:
            for task_id, script in self._roots.items():
                await kernel.submit("play", task_id=task_id, input=script)  # also tells a halted kernel
            await settled()
            acted = await self._answer(kernel)
            for row in list(kernel.tasks.live()):
                acted |= await self._poke(kernel, row)
            if not acted and kernel.tasks.next_timer() is None:
                return await kernel.idle()
            await self._clock.advance(1)

    async def _answer(self, kernel):
        """Answer what is asked; a call in doubt is made again exactly when it was not made."""
        asked = kernel.approvals()
        for item in asked:
            if not item.key.startswith("effect:"):
                yes = item.key.startswith("yes")
                await (kernel.approve if yes else kernel.deny)(item.task_id, item.key)
            elif (key := item.payload["arguments"]["key"]) in self.world.done:
                await kernel.deny(item.task_id, item.key, reason=f"did {key}")
            else:
                await kernel.approve(item.task_id, item.key)
        return bool(asked)

    async def _poke(self, kernel, row):
        """End a task's wait; a message is sent twice, which must not matter."""
        wait = row.wait.label() if row.wait else ""
        note = row.wait.note if row.wait else ""
        name = f"{row.id}:{row.budget.turns}"
        if note == "message":
            for _ in range(2):
                await kernel.send(row.id, f"message {name}", key=name)
        elif wait == "signal":
            item = RuntimeSignal(
                SignalSource.CUSTOM,
                SignalType.EVENT,
                Urgency.HIGH,
                f"signal {name}",
                dedupe_key=name,
                id=name,
            )
            await kernel.signal(item, row.id)
        elif note == "go on":
            await kernel.resume(row.id)
        else:
            return False
        return True

    async def _note_excess(self):
        try:
            snapshot = await load(MemoryStorage(self._storage._state), RUN, keys=self._keys)
        except NotFoundError:
            return
        self.excess = excess_of(snapshot)


def excess_of(snapshot):
    """What each task has spent beyond its committed turns."""
    found = {}
    for row in snapshot.tasks:
        script = msgspec.msgpack.decode(snapshot.inputs[row.id].data)
        found[row.id] = row.total_tokens - spent(script, row.turns)
    return {task_id: tokens for task_id, tokens in found.items() if tokens}


def normal(snapshot):
    """A snapshot without what may differ: times, numbers, the order of the turns, spent tokens."""
    data = snapshot.to_dict()
    for row in data["tasks"]:
        for name in ("changed_turn", "started_at_ms", "total_tokens", "deferred_until"):
            row.pop(name, None)
        for result in (row.get("result"), (row["proc"] or {}).get("result")):
            if result:
                result.pop("total_tokens_used", None)
    data["tasks"].sort(key=lambda row: row["id"])
    for kind in ("inbox", "sent", "approvals", "effects", "spools"):  # numbers begin anew with a restart
        data[kind] = {task: list(items.values()) for task, items in data.get(kind, {}).items()}
    for items in data["approvals"].values():
        for item in items:
            item.pop("asked_at_ms", None)
    data["totals"] = {"turn": data["totals"].get("turn", 0)}
    for name in ("context", "total_tokens", "meters", "processes", "fold", "events", "os_view"):
        data.pop(name, None)
    return _without_errors(data)


def _without_errors(data):
    """Forget which tool answers were given by a human instead of by the call."""
    if isinstance(data, dict):
        return {name: _without_errors(value) for name, value in data.items() if name != "is_error"}
    return [_without_errors(value) for value in data] if isinstance(data, list) else data


async def settled():
    """Return when nothing on the event loop can go on by itself; there must be no threads at work."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:
        await asyncio.sleep(0)
