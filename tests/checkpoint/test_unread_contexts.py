"""Large runs: their contexts are read after the start, who needs one waits, and nothing is lost meanwhile."""

import asyncio
from contextlib import contextmanager

import anyio
import pytest
from hook_kit import make, pass_time, settled

from kernelckpt import LogOptions, MemoryStorage, Message, Retention, ToolCall, load, tool
from kernelckpt.errors import ContextNotLoadedError, CorruptionError, SchedulerStopped
from kernelckpt.testing import ManualClock

TASKS = 6
BASES_ALWAYS = LogOptions(base_min_bytes=1, base_factor=0.0)
COPIES_ALWAYS = LogOptions(base_min_bytes=1, base_factor=0.0, sparse_below=2.0)


class SlowReads:
    """Holds reads of contexts after the start, of parts of entries or of copied items, until let through.

    Attributes:
        parts: numbers of the entries of which parts were read by the owner, in order; 0 for a blob.
        reading: how many of these reads are under way.
        reading_at_release: how many were when the run was given up.
    """

    def __init__(self, storage):
        self._storage = storage
        self._let = None
        self.parts = []
        self.reading = 0
        self.reading_at_release = None
        self._is_owned = False

    def __getattr__(self, name):
        return getattr(self._storage, name)

    @contextmanager
    def held(self):
        """Hold reads; at the end all go on."""
        let = self._let = asyncio.Semaphore(0)
        try:
            yield let
        finally:
            self._let = None
            for _ in range(100):
                let.release()

    def hold_no_more(self):
        """Let later reads through at once; those that are held stay so."""
        self._let = None

    def let(self, reads):
        """Let so many reads through."""
        for _ in range(reads):
            self._let.release()

    async def acquire(self, *arguments, **settings):
        self._is_owned = True
        return await self._storage.acquire(*arguments, **settings)

    async def _pass(self, part):
        if self._is_owned:
            self.parts.append(part)
            self.reading += 1
            try:
                if self._let is not None:
                    await self._let.acquire()
            finally:
                self.reading -= 1

    async def release(self, *arguments):
        self.reading_at_release = self.reading
        await self._storage.release(*arguments)

    async def read(self, run_id, epoch, sequence, *, offset=0, length=None):
        if length is not None:
            await self._pass(sequence)
        return await self._storage.read(run_id, epoch, sequence, offset=offset, length=length)

    async def read_blob(self, run_id, name, *, offset=0, length=None):
        if name.startswith("items-"):
            await self._pass(0)
        return await self._storage.read_blob(run_id, name, offset=offset, length=length)


async def chat(turn):
    """Answer each message with how many there were in the history."""
    for message in turn.inbox:
        turn.append(message)
        turn.say(f"{len(turn.context.history) + 1} with {message.text}")
    return turn.wait_for_message()


PROGRAMS = {"chat": chat}


async def saved(log=BASES_ALWAYS, **settings):
    """A run of tasks with three messages each, all of them before its base."""
    storage, clock = MemoryStorage(), ManualClock()
    kernel, hook = make(storage, PROGRAMS, clock=clock, log=log, **settings)
    async with kernel:
        for number in range(TASKS):
            await kernel.submit("chat", task_id=f"t{number}", messages=[Message.user(f"{number}")])
            await kernel.idle()
        for number in range(TASKS):
            await kernel.send(f"t{number}", "first")
            await kernel.idle()
        await pass_time(clock, 2)
        assert hook.stats.bases
    return SlowReads(storage)


def restarted(storage, programs=PROGRAMS, **settings):
    """A later life of the run, which reads contexts when they are needed."""
    return make(storage, programs, **{"eager_bytes": 0, **settings})


def texts(kernel, task):
    return [message.text for message in kernel.context(task).history]


async def test_a_kernel_runs_before_contexts_are_read_and_what_is_not_refuses_to_be_looked_at():
    storage = await saved()
    kernel, _ = restarted(storage)
    with storage.held():
        async with kernel:
            assert kernel.restored.restored["history"] == 3 * TASKS
            await kernel.submit("chat", task_id="new")
            await kernel.send("new", "hello")
            await kernel.idle()
            assert texts(kernel, "new") == ["hello", "1 with hello"]
            with pytest.raises(ContextNotLoadedError, match="'t3'") as caught:
                kernel.context("t3")
            assert "await kernel.load_contexts('t3')" in caught.value.hint
            with pytest.raises(ContextNotLoadedError, match="and 5 more") as caught:
                kernel.snapshot()
            assert "await kernel.load_contexts()" in caught.value.hint
            storage.let(100)
            await kernel.load_contexts()
            assert texts(kernel, "t3") == ["3", "first", "2 with first"]
            assert kernel.snapshot().contexts == (await load(storage, "run")).contexts


async def test_a_small_run_is_read_before_it_starts():
    storage = await saved()
    kernel, _ = restarted(storage, eager_bytes=100_000)
    async with kernel:
        with storage.held():
            assert texts(kernel, "t3") == ["3", "first", "2 with first"]
            await kernel.load_contexts()


async def test_a_turn_waits_for_its_context_which_is_read_next():
    storage = await saved()
    kernel, _ = restarted(storage)
    with storage.held():
        async with kernel:
            await kernel.send("t4", "second")
            await settled()
            assert kernel.tasks.get("t4").budget.turns == 2, "its turn has not begun"
            before = len(storage.parts)
            storage.let(4)
            await settled()
            assert texts(kernel, "t4") == ["4", "first", "2 with first", "second", "4 with second"]
            assert len(storage.parts) <= before + 4
            with pytest.raises(ContextNotLoadedError):
                kernel.context("t5")
            storage.let(100)
            await kernel.load_contexts()


async def test_loading_some_loads_those_and_tells_of_its_progress():
    storage, told = await saved(), []
    kernel, _ = restarted(storage)
    async with kernel:
        await kernel.load_contexts("t1", "t2", on_progress=lambda done, of: told.append((done, of)))
        assert told[0] == (0, 2)
        assert told[-1] == (2, 2)
        assert texts(kernel, "t1")[0] == "1"
        await kernel.load_contexts()
        assert [texts(kernel, f"t{number}")[0] for number in range(TASKS)] == list("012345")


@tool(effect="ask")
async def stuck() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return ""


async def call(turn):
    if turn.number > 1:
        return turn.complete("after the call")
    turn.say("before the call")
    return turn.request(Message.assistant("calling", tool_calls=(ToolCall("c1", "stuck", {}),)))


async def test_what_is_added_to_a_context_that_is_not_read_comes_behind_what_is():
    storage, clock = MemoryStorage(), ManualClock()
    kernel, hook = make(storage, {"call": call}, clock=clock, tools=[stuck], log=BASES_ALWAYS)
    async with kernel:
        await kernel.submit("call", task_id="t", messages=[Message.user("begin")])
        await settled()
        await pass_time(clock, 2)
        assert hook.stats.bases
        await kernel.stop(grace=0)
    slow = SlowReads(storage)
    kernel, _ = restarted(slow, {"call": call}, tools=[stuck])
    with slow.held():
        async with kernel:
            await kernel.cancel("t")
            with pytest.raises(ContextNotLoadedError):
                kernel.context("t")
            slow.let(100)
            await kernel.load_contexts()
            found = texts(kernel, "t")
    assert found[:3] == ["begin", "before the call", "calling"]
    assert len(found) == 4, "and a tool message for the call that was not made"
    assert (await load(storage, "run")).contexts["t"].history_messages[3].text == found[3]


async def test_bases_and_pruning_keep_what_is_still_to_be_read_wherever_it_is_moved():
    storage, clock = await saved(), ManualClock()
    kernel, hook = restarted(storage, clock=clock, log=COPIES_ALWAYS, retention=Retention(bases=1))
    with storage.held() as held:
        async with kernel:
            await settled()
            reads = storage.parts[:]
            assert len(reads) == storage.reading > 0, "they are held, and with them all of the background"
            storage.hold_no_more()
            await kernel.cancel("t2")
            await kernel.forget("t2")
            await kernel.submit("chat", task_id="t2", messages=[Message.user("anew")])
            for _ in range(3):
                await kernel.submit("chat", task_id=f"new{hook.stats.bases}")
                await pass_time(clock, 2)
            assert hook.stats.bases >= 3
            assert hook.stats.pruned_bytes
            kept = {info.sequence for info in await storage.list_entries("run")}
            assert not kept.intersection(reads), "what is being read was removed meanwhile"
            for _ in reads:
                held.release()
            await kernel.load_contexts()
            for number in range(TASKS):
                expected = ["anew"] if number == 2 else [str(number), "first", "2 with first"]
                assert texts(kernel, f"t{number}") == expected
    assert (await load(storage, "run")).contexts["t3"].history_messages[0].text == "3"


async def test_a_task_that_is_forgotten_and_submitted_again_does_not_get_the_old_context():
    storage = await saved()
    kernel, _ = restarted(storage)
    with storage.held():
        async with kernel:
            await kernel.cancel("t2")
            await kernel.forget("t2")
            await kernel.submit("chat", task_id="t2")
            await kernel.send("t2", "again")
            storage.let(100)
            await kernel.load_contexts()
            await kernel.idle()
            assert texts(kernel, "t2") == ["again", "1 with again"]


async def test_leaving_does_not_wait_for_contexts_and_keeps_them():
    storage = await saved()
    kernel, _ = restarted(storage)
    with storage.held():
        async with kernel:
            waiting = asyncio.create_task(kernel.load_contexts())
            await settled()
            assert storage.reading
        with pytest.raises(SchedulerStopped, match="before the context was loaded"):
            await waiting
        assert storage.reading_at_release == 0, "nobody reads from a storage that may be closed by now"
    assert len((await load(storage, "run")).contexts["t5"].history_messages) == 3


def damage(storage, task):
    """Flip a byte of a message of this task."""
    entries = storage._state.runs["run"].entries
    for sequence, (info, data) in entries.items():
        at = data.find(b"\xa1" + task[1:].encode())  # the text of its first message
        if at >= 0 and b"history" in data:
            entries[sequence] = (info, data[:at] + b"\xa1?" + data[at + 2 :])
            return
    raise AssertionError


async def test_a_damaged_context_halts_the_kernel_before_a_turn_of_its_task():
    storage = await saved()
    damage(storage, "t4")
    kernel, _ = restarted(storage)
    with storage.held(), pytest.raises(CorruptionError, match="cannot be read") as caught:
        async with kernel:
            await kernel.send("t4", "second")
            turns = kernel.tasks.get("t4").budget.turns
            storage.let(100)
            await anyio.sleep_forever()
    assert "fall_back" in caught.value.hint
    assert kernel.tasks.get("t4").budget.turns == turns
    assert kernel.tasks.get("t4").attempt == 0


def remove(storage, task):
    """Have an entry vanish that holds messages of this task."""
    entries = storage._state.runs["run"].entries
    gone = [n for n, (_, data) in entries.items() if b"history" in data and task.encode() in data]
    del entries[gone[0]]


@pytest.mark.parametrize("spoil", [damage, remove])
async def test_damage_in_the_background_halts_the_kernel_too(spoil):
    storage = await saved()
    kernel, _ = restarted(storage)
    with storage.held(), pytest.raises(CorruptionError, match="cannot be read"):
        async with kernel:
            spoil(storage, "t4")
            storage.let(100)
            await kernel.load_contexts()


async def test_falling_back_reads_all_contexts_first_and_says_what_is_lost():
    storage = await saved()
    damage(storage, "t4")
    kernel, _ = restarted(storage, on_corruption="fall_back")
    async with kernel:
        assert any("damaged" in note for note in kernel.restored.notes)
        assert "t0" in kernel.tasks
        assert texts(kernel, "t0")[0] == "0"
