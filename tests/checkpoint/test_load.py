"""`load`: any checkpoint as a snapshot, equal to what the live kernel said of itself."""

import pytest
from state_kit import RUN, new_storage, said, write_records, write_run

from kernelckpt import (
    CheckpointHook,
    KernelSnapshot,
    MemoryStorage,
    Message,
    Program,
    RuntimeSignal,
    Scheduler,
    SignalSource,
    SignalType,
    Urgency,
    load,
)
from kernelckpt.abc import Append, Put
from kernelckpt.errors import CorruptionError, DecodeError, NotFoundError
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.tcb import Tcb


async def lead(turn):
    if turn.number == 1:
        turn.plan(["ask", "listen"], current_step=0)
        turn.progress("asking two children")
        child = turn.spawn("ask", goal="ask", task_id="asker", input={"limits": [1, 2]})
        other = turn.spawn("listen", goal="listen", task_id="listener")
        return turn.join(child, other)
    return turn.complete("both are done", output={"children": 2})


async def ask(turn):
    turn.say("a question")
    turn.spend(tokens=7, cost_micros=3)
    if not turn.approvals:
        return turn.ask_approval("sure", "Are you sure?", {"amount": [10]})
    return turn.complete("sure", output=[1, {"deep": []}])


async def listen(turn):
    if turn.number == 1:
        turn.set_state({"heard": []})
        return turn.wait_for_message()
    return turn.complete(turn.inbox[0].text)


PROGRAMS = {"lead": lead, "ask": Program(ask), "listen": Program(listen)}


def signal(summary: str) -> RuntimeSignal:
    return RuntimeSignal(SignalSource.CRON, SignalType.EVENT, Urgency.NORMAL, summary, payload={"n": [1]})


async def play(storage) -> dict[int, KernelSnapshot]:
    """A run that uses what a state can hold; the live snapshot at each of some checkpoints."""
    seen = {}
    hook = CheckpointHook(storage, every=None, durable=False, waits=False)
    async with Scheduler(PROGRAMS, run_id=RUN, hooks=[hook]) as kernel:

        async def keep():
            await kernel.idle()
            seen[(await hook.checkpoint()).sequence] = kernel.snapshot()

        await keep()
        await kernel.submit("lead", task_id="lead", goal="lead", messages=[Message.user("go")])
        await keep()
        await kernel.signal(signal("tick"))
        await kernel.signal(signal("tock"), "listener")
        await keep()
        await kernel.approve("asker", "sure", by="me")
        await keep()
        await kernel.send("listener", "hello", key="once")
        await keep()
    return seen


async def test_a_checkpoint_is_what_the_live_kernel_was():
    storage = MemoryStorage()
    seen = await play(storage)
    assert len(seen) == 5
    for sequence, live in seen.items():
        assert await load(storage, RUN, sequence) == live
    newest = await load(storage, RUN)
    assert newest == seen[max(seen)]
    assert {row.id: row.state.label() for row in newest.tasks} == dict.fromkeys(
        ("lead", "asker", "listener"), "done"
    )


async def test_what_a_snapshot_holds():
    storage = MemoryStorage()
    seen = list((await play(storage)).values())
    waiting, answered = seen[2], seen[3]
    assert waiting.context.history_messages == (Message.user("go"),)
    assert waiting.contexts["asker"].history_messages == (Message.assistant("a question"),)
    assert [item.key for item in waiting.approvals["asker"].values() if item.pending] == ["sure"]
    assert [item.signal.summary for item in waiting.queued_signals.values()] == ["tick", "tock"]
    assert waiting.states["listener"].version == 1
    assert set(waiting.inputs) == {"asker"}
    assert not any(item.pending for item in answered.approvals["asker"].values())
    assert answered.tasks[1].proc.result.output == [1, {"deep": []}]
    assert (answered.total_tokens, answered.totals.cost_micros) == (14, 6)


async def test_snapshots_survive_json():
    storage = MemoryStorage()
    for live in (await play(storage)).values():
        assert KernelSnapshot.from_json(live.to_json()) == live


async def test_a_snapshot_shares_nothing_with_the_kernel():
    hook = CheckpointHook("memory:", every=None)
    async with Scheduler(PROGRAMS, run_id=RUN, hooks=[hook]) as kernel:
        await kernel.submit("lead", task_id="lead")
        await kernel.idle()
        await kernel.approve("asker", "sure")
        await kernel.idle()
        await kernel.signal(signal("tick"))
        before = kernel.snapshot().to_json()
        changed = kernel.snapshot()
        changed.tasks[1].proc.result.output.append("mine")
        next(iter(changed.approvals["asker"].values())).payload["amount"].append("mine")
        next(iter(changed.queued_signals.values())).signal.payload["n"].append("mine")
        changed.contexts.clear()
        assert kernel.snapshot().to_json() == before
        await kernel.send("listener", "hello")
        await kernel.join("lead")


async def test_an_empty_kernel_has_a_checkpoint():
    storage = MemoryStorage()
    async with Scheduler({}, run_id=RUN, hooks=[CheckpointHook(storage)]):
        pass
    snapshot = await load(storage, RUN)
    assert (snapshot.turn, snapshot.tasks, snapshot.contexts) == (0, (), {})


async def test_the_owner_may_be_alive():
    storage = MemoryStorage()
    async with Scheduler(PROGRAMS, run_id=RUN, hooks=[CheckpointHook(storage)]) as kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.idle()
        assert [row.id for row in (await load(storage, RUN)).tasks] == ["l"]
        await kernel.send("l", "bye")
        await kernel.join("l")


async def test_there_is_no_such_run():
    with pytest.raises(NotFoundError, match="nobody"):
        await load(MemoryStorage(), "nobody")


async def test_there_is_no_such_checkpoint():
    _, storage = new_storage()
    await write_run(storage, [Put(("kernel", "", 0), KernelTotals())])
    for at in (0, 2, -1):
        with pytest.raises(NotFoundError, match=f"checkpoint {at}"):
            await load(storage, RUN, at)


async def test_nothing_was_saved_yet():
    _, storage = new_storage()
    await storage.acquire(RUN, "a test")
    with pytest.raises(NotFoundError, match="no checkpoint yet") as caught:
        await load(storage, RUN)
    assert caught.value.hint


async def test_a_record_that_is_none():
    _, storage = new_storage()
    await write_records(storage, (("task", "a", 0), b"\x81\xa2id\x01"))
    with pytest.raises(DecodeError) as caught:
        await load(storage, RUN)
    assert caught.value.path == 'task["a"].id'


async def test_a_message_that_is_none():
    _, storage = new_storage()
    rows = [Put(("task", "a", 0), Tcb("a")), Append(("history", "a", 0), 0, (b"\xc0",))]
    await write_run(storage, rows)
    with pytest.raises(DecodeError, match="message 0"):
        await load(storage, RUN)


async def test_records_that_contradict_each_other():
    _, storage = new_storage()
    await write_run(storage, [said("to nobody", 0, task="ghost")])
    with pytest.raises(CorruptionError, match="ghost") as caught:
        await load(storage, RUN)
    assert list(caught.value.lost) == ["task 'ghost'"]
