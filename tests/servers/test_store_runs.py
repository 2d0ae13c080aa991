"""A run on every storage: restored, pruned while it goes on and afterwards, verified."""

# ruff: noqa: F811 - a fixture is imported, and named by what uses it

import asyncio
import sys
from contextlib import suppress
from itertools import pairwise

import anyio
import pytest
from stores import store  # noqa: F401 - a fixture

from kernelckpt import (
    CheckpointHook,
    LogOptions,
    Retention,
    Scheduler,
    SchedulerBudget,
    load,
    open_storage,
    verify,
)
from kernelckpt.checkpoint.prune import prune
from kernelckpt.errors import NotFoundError
from kernelckpt.log import PruneReport, list_checkpoints

MESSAGES, MOST = 60, 1000


async def listen(turn):
    """Keep what is sent, and a state that is replaced each time."""
    for message in turn.inbox:
        turn.append(message)
    turn.set_state(bytes([turn.number % 256]) * 3_000)
    return turn.wait_for_message()


async def life(url, texts, retention, *, bases=0):
    """One life of the kernel: it is sent these, and more until there are so many bases; what it was sent."""
    log = LogOptions(base_min_bytes=2_000, base_max_entries=4, base_factor=0.1)
    hook = CheckpointHook(url, every=0.01, log=log, retention=retention)
    sent = []
    async with Scheduler({"listen": listen}, run_id="run", hooks=[hook]) as kernel:
        await kernel.submit("listen", task_id="t", budget=SchedulerBudget(max_turns=MOST + 1))
        while len(sent) < len(texts) or hook.stats.bases < bases:
            assert len(sent) < MOST, f"{hook.stats.bases} bases"
            sent.append(texts[len(sent)] if len(sent) < len(texts) else f"more {len(sent)}")
            await kernel.send("t", sent[-1], key=sent[-1])
            await kernel.idle()
            await hook.checkpoint()
    return sent


async def heard(url, at=None):
    async with open_storage(url) as storage:
        snapshot = await load(storage, "run", at)
    contexts = [snapshot.contexts[row.id] for row in snapshot.tasks]
    return [message.text for context in contexts for message in context.history_messages]


async def test_a_run_is_restored_in_each_life(store):
    texts = [f"message {number}" for number in range(MESSAGES)]
    for begin in range(0, MESSAGES, 20):
        await life(store.url, texts[: begin + 20], Retention())
        assert await heard(store.url) == texts[: begin + 20], "what was sent before is known by its key"
    async with open_storage(store.url) as storage:
        report = await verify(storage, "run", all_checkpoints=True)
        assert report.ok, report


async def test_pruning_keeps_what_is_kept_restorable(store):
    texts = await life(store.url, ["first"], Retention(keep_all=True), bases=3)
    async with open_storage(store.url) as storage:
        report = await prune(storage, "run", Retention(bases=1))
        assert report.entries + report.blobs > 0
        assert await prune(storage, "run", Retention(bases=1)) == PruneReport()
        assert (await verify(storage, "run", all_checkpoints=True)).ok
        kept = [info.sequence for info in await list_checkpoints(storage, "run", 1000)]
    told = []
    for sequence in kept:
        with suppress(NotFoundError):  # it rested on what was pruned
            told.append(await heard(store.url, sequence))
    assert told[-1] == texts
    assert all(earlier == later[: len(earlier)] for earlier, later in pairwise(told))
    await life(store.url, [*texts, "one more"], Retention())
    assert await heard(store.url) == [*texts, "one more"]


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 8, 16, 32, 64, 128])
async def test_a_deletion_that_is_given_up_at_any_turn_of_the_loop_can_be_made_again(store, turns):
    async with open_storage(store.url) as storage, open_storage(store.url) as other:
        for run_id in ("run", "kept"):
            claim = await storage.acquire(run_id, "test")
            await storage.append(run_id, claim.epoch, 1, [b"one"], b"")
            await storage.post(run_id, "message", b"")
            await storage.release(run_id, claim.epoch)
        deletion = asyncio.create_task(storage.delete_run("run"))
        for _ in range(turns):
            await asyncio.sleep(0)
        deletion.cancel()
        await asyncio.wait({deletion})
        for deleting in (storage, other):
            with suppress(NotFoundError):  # it was done, or nobody saw its end
                await deleting.delete_run("run")
        assert await other.list_runs() == ["kept"]
        with pytest.raises(NotFoundError):
            await other.list_entries("run")
        assert (await storage.acquire("run", "anew")).head == 0
        assert await storage.posted("run") == []
        assert len(await storage.posted("kept")) == len(await storage.list_entries("kept")) == 1


async def test_the_command_line_deletes_what_nobody_owns(store):
    command = [sys.executable, "-m", "kernelckpt", "delete", "run", "other", "--yes", "--storage", store.url]
    async with open_storage(store.url) as storage:
        for run_id in ("run", "other", "kept"):
            claim = await storage.acquire(run_id, "the owner")
            await storage.append(run_id, claim.epoch, 1, [b"one"], b"")
        await storage.release("other", (await storage.acquire("other", "the owner")).epoch)
        done = await anyio.run_process(command, check=False)
        assert (done.returncode, done.stdout) == (4, b"run other: deleted\n")
        assert b"run 'run' is owned by the owner, which is alive" in done.stderr
        assert await storage.list_runs() == ["kept", "run"]
        assert len(await storage.list_entries("run")) == 1
