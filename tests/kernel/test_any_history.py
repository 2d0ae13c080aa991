"""Whatever is done to a kernel, in whatever order, with restarts: nothing is lost, doubled or stuck."""

import asyncio
from contextlib import suppress

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import (
    Message,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    ToolCall,
    Urgency,
    tool,
)
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import UsageError
from kernelckpt.testing import ManualClock

COMMANDS = [
    *("spawn", "spawn two", "join", "sleep", "ask", "signal", "external", "effect", "request", "none"),
    *("complete", "fail", "raise", "spend"),
]
NAMES = ["a", "b", "c"]


@tool(effect="idempotent")
async def note(text):
    """Stand for something with consequences."""
    return text


async def actor(turn):
    """Do what the messages say, one command a turn, and say what was done."""
    heard = [message.text for message in turn.inbox]
    todo = [*(turn.state or []), *heard]
    if not todo:
        return turn.wait_for_message()
    command, *rest = todo
    turn.say(command)
    turn.set_state(rest)
    return await obey(turn, command.split(":")[1])


async def obey(turn, command):
    match command:
        case "spawn":
            turn.spawn("actor")
        case "spawn two":
            return turn.join(turn.spawn("actor"), turn.spawn("actor"))
        case "join":
            return turn.join()
        case "sleep":
            return turn.sleep(10)
        case "ask":
            return turn.ask_approval(f"k{turn.number}", "?", timeout=100)
        case "signal":
            return turn.wait_for_signal()
        case "external":
            return turn.wait_external("door")
        case "effect":
            turn.deps.append(await turn.effect(note, f"{turn.task.id} {turn.number}"))
        case "request":
            return turn.request(Message.assistant("", [ToolCall("1", "note", {"text": "x"})]))
        case "complete":
            return turn.complete("done", output=turn.number)
        case "fail":
            return turn.fail("told to")
        case "raise":
            raise ValueError("told to")
        case "spend":
            turn.spend(tokens=7)
    return None


ids = st.one_of(
    st.sampled_from(NAMES), st.sampled_from([f"{name}/actor-{n}" for name in NAMES for n in (1, 2)])
)
operations = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(NAMES), st.sampled_from([3, 1000])),
    st.tuples(st.just("send"), ids, st.sampled_from(COMMANDS)),
    st.tuples(st.just("send"), ids, st.sampled_from(COMMANDS)),
    st.tuples(st.just("signal"), st.one_of(st.none(), ids), st.sampled_from(list(Urgency))),
    st.tuples(st.just("cancel"), ids),
    st.tuples(st.just("forget"), ids),
    st.tuples(st.just("extend"), ids),
    st.tuples(st.just("resume"), ids),
    st.tuples(st.just("approve"), st.booleans()),
    st.tuples(st.just("advance"), st.sampled_from([5.0, 10.0, 100.0])),
    st.tuples(st.just("settle")),
    st.tuples(st.just("restart")),
)


class World:
    """A kernel, what was sent to its tasks, and what must be true of both."""

    def __init__(self):
        self.clock = ManualClock()
        self.recorder = Recorder()
        self.sent = {}
        self.spent = 0
        self.numbers = iter(range(10**6))

    async def run(self, steps):
        steps = list(steps)
        while True:
            async with self._kernel() as self.kernel:
                while steps and steps[0] != ("restart",):
                    name, *arguments = steps.pop(0)
                    with suppress(UsageError):
                        await getattr(self, name)(*arguments)
                    self.check_records()
                await settle()
                self.check()
                before = self.facts()
                self.kernel.request_stop(0)
            if not steps:
                return
            steps.pop(0)
            self.recorder = Recorder(self.recorder.saved())
            async with self._kernel() as self.kernel:
                await settle()
                self.check()
                assert self.facts() == before
                self.kernel.request_stop(0)
            self.recorder = Recorder(self.recorder.saved())

    def _kernel(self):
        settings = {"hooks": [self.recorder], "tools": [note], "clock": self.clock, "deps": []}
        return kernel_of({"actor": actor}, max_concurrency=2, **settings)

    def facts(self):
        rows = {
            row.id: (row.state, row.wait, row.deferred_until, row.budget.turns) for row in self.kernel.tasks
        }
        return rows, self.kernel.snapshot().inbox, self.kernel.snapshot().queued_signals

    async def submit(self, task_id, turns):
        known = task_id in self.kernel.tasks
        await self.kernel.submit("actor", task_id=task_id, budget=SchedulerBudget(max_turns=turns))
        if not known:
            self.sent[task_id] = []

    async def send(self, task_id, command):
        text = f"{next(self.numbers)}:{command}"
        await self.kernel.send(task_id, text)
        self.sent.setdefault(task_id, []).append(text)

    async def signal(self, task_id, urgency):
        signal = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, urgency, "s")
        await self.kernel.signal(signal, task_id)

    async def cancel(self, task_id):
        await self.kernel.cancel(task_id, "cancelled")

    async def forget(self, task_id):
        gone = [row.id for row in self.kernel.tasks if row.id == task_id or row.id.startswith(f"{task_id}/")]
        await self.kernel.forget(task_id)
        for name in gone:
            self.sent.pop(name, None)

    async def extend(self, task_id):
        await self.kernel.extend(task_id, SchedulerBudget(max_turns=1000))

    async def resume(self, task_id):
        await self.kernel.resume(task_id)

    async def approve(self, yes):
        for item in self.kernel.approvals():
            answer = self.kernel.approve if yes else self.kernel.deny
            await answer(item.task_id, item.key)

    async def advance(self, seconds):
        await self.clock.advance(seconds)

    async def settle(self):
        await settle()
        self.check()

    def check_records(self):
        """What the commits said is what is there."""
        saved = self.recorder.saved()
        scanned = dict(self.kernel.scan())
        assert {
            key: encode_record(record) for key, record in scanned.items() if record is not None
        } == saved.records
        assert {key for key, record in scanned.items() if record is None} == set(saved.streams)

    def check(self):
        """When nothing can go on by itself: every live task waits for something that can come."""
        self.check_records()
        now = self.clock.wall_ms()
        for row in self.kernel.tasks:
            if row.state.is_terminal():
                continue
            waits = row.wait is not None and row.state.label() == "suspended"
            assert waits or row.deferred_until > now, row
            if waits and row.wait.children:
                assert not any(
                    self.kernel.tasks.get(child).state.is_terminal() for child in row.wait.children
                )
            self.check_messages(row)
        totals = self.kernel.snapshot()
        assert totals.total_tokens >= sum(row.budget.total_tokens for row in self.kernel.tasks)

    def check_messages(self, row):
        """What was sent was heard once and in order, or is still there."""
        said = [text for text in self._said(row.id) if ":" in text]
        inbox = self.kernel.snapshot().inbox.get(row.id, {})
        kept = [entry.message.text for entry in inbox.values() if entry.message]
        state = self.kernel.snapshot().states.get(row.id)
        todo = msgspec.msgpack.decode(state.data) if state else []
        assert [*said, *todo, *kept] == self.sent.get(row.id, []), row.id

    def _said(self, task_id):
        return [
            message.text for message in self.kernel.context(task_id).history if message.role == "assistant"
        ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(operations, max_size=40))
def test_any_history(steps):
    asyncio.run(World().run([("submit", "a", 1000), ("submit", "b", 1000), *steps]))
