"""A run on every storage: restored, pruned while it goes on and afterwards, verified."""

# ruff: noqa: F811 - a fixture is imported, and named by what uses it

from contextlib import suppress
from itertools import pairwise

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
