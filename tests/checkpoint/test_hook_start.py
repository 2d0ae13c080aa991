"""Starting: what is restored, what is refused, and who may own a run."""

import asyncio
import shutil

import pytest
from hook_kit import count, digests, listen, make, settled

from kernelckpt import CheckpointHook, FileStorage, MemoryStorage, Scheduler, load, open_storage
from kernelckpt.errors import (
    CorruptionError,
    RestoreError,
    RunOwnedError,
    StorageUrlError,
    UsageError,
)
from kernelckpt.log import list_checkpoints
from kernelckpt.testing import ManualClock


async def say(storage, *texts, run_id="run", **settings):
    """One life of a task that listens; its history at the end."""
    kernel, _ = make(storage, {"listen": listen}, run_id=run_id, **settings)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        for text in texts:
            await kernel.send("l", text)
            while kernel.context("l").history[-1:] == () or kernel.context("l").history[-1].text != text:
                await asyncio.sleep(0)
        return [message.text for message in kernel.context("l").history]


async def test_a_new_run_restores_nothing():
    kernel, hook = make(MemoryStorage(), {})
    async with kernel:
        assert kernel.restored is None
        assert hook.stats.restore_seconds > 0


async def test_a_run_goes_on_where_it_stopped():
    storage, clock = MemoryStorage(), ManualClock()
    await say(storage, "one", clock=clock)
    saved = await load(storage, "run")
    await clock.advance(100)
    kernel, _ = make(storage, {"listen": listen}, clock=clock)
    async with kernel:
        assert kernel.snapshot().contexts == saved.contexts
        assert kernel.snapshot().tasks == saved.tasks
        report = kernel.restored
        assert (report.run_id, report.tasks, report.live, report.downtime_ms) == ("run", 1, 1, 100_000)
        assert report.notes == ()
    assert await say(storage, "two", clock=clock) == ["one", "two"]


async def test_two_schedulers_share_one_storage():
    storage = MemoryStorage()
    first, _ = make(storage, {"listen": listen}, run_id="first")
    second, _ = make(storage, {"count": count}, run_id="second")
    async with first, second:
        await first.submit("listen", task_id="l")
        await second.submit("count", task_id="c")
        await second.join("c")
        await settled()
    assert [row.id for row in (await load(storage, "first")).tasks] == ["l"]
    assert [row.id for row in (await load(storage, "second")).tasks] == ["c"]
    assert await storage.list_runs() == ["first", "second"], "a storage that was handed in stays open"


async def test_a_living_owner_is_waited_for_then_named():
    state, clock = MemoryStorage(), ManualClock()
    other = MemoryStorage(state._state)
    kernel, _ = make(state, {"listen": listen}, clock=clock)
    async with kernel:
        late, _ = make(other, {"listen": listen}, clock=clock, owner_wait=10.0)
        entering = asyncio.create_task(tasks_of(late))
        await settled()
        await clock.advance(9)
        assert not entering.done()
        await clock.advance(2)
        with pytest.raises(RunOwnedError, match=r"process \d+ on .*, since") as caught:
            await entering
        assert caught.value.hint
        await kernel.submit("listen", task_id="l")


async def tasks_of(kernel):
    async with kernel:
        return [row.id for row in kernel.tasks.all()]


async def test_an_owner_that_leaves_in_time_is_followed():
    state, clock = MemoryStorage(), ManualClock()
    other = MemoryStorage(state._state)
    kernel, _ = make(state, {"listen": listen}, clock=clock)
    late, _ = make(other, {"listen": listen}, clock=clock, owner_wait=10.0)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        following = asyncio.create_task(tasks_of(late))
        await settled()
    await clock.advance(5)
    assert await following == ["l"]


async def test_a_hook_serves_one_scheduler_and_can_be_tried_again_after_a_failed_start():
    state = MemoryStorage()
    other = MemoryStorage(state._state)
    owner = await other.acquire("run", "somebody")
    hook = CheckpointHook(state, every=None, owner_wait=0)
    with pytest.raises(RunOwnedError, match="somebody"):
        async with Scheduler({}, run_id="run", hooks=[hook]):
            pass
    await other.release("run", owner.epoch)
    async with Scheduler({}, run_id="run", hooks=[hook]):
        with pytest.raises(UsageError, match="in use"):
            async with Scheduler({}, run_id="another", hooks=[hook]):
                pass


@pytest.mark.parametrize(
    "settings",
    [
        {"every": 0},
        {"turns": 0},
        {"owner_wait": -1},
        {"max_ahead": -1},
        {"max_consecutive_failures": -1},
        {"on_corruption": "ignore"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_a_remedy(settings):
    with pytest.raises(UsageError) as caught:
        CheckpointHook("memory:", **settings)
    assert next(iter(settings)) in str(caught.value)
    assert caught.value.hint


async def test_a_hook_that_has_not_started_says_so():
    hook = CheckpointHook("memory:")
    with pytest.raises(UsageError, match="enter"):
        await hook.checkpoint()
    hook.request_stop()
    assert hook.stats.checkpoints == 0


async def test_a_url_that_names_nothing_is_refused_on_entering():
    with pytest.raises(StorageUrlError, match="known schemes"):
        async with Scheduler({}, run_id="run", hooks=[CheckpointHook("ftp://example.org/state")]):
            pass


async def test_a_storage_opened_for_the_hook_is_closed_with_it(tmp_path):
    url = f"file:{tmp_path}/state"
    assert await say(url, "one") == ["one"]
    async with open_storage(url) as storage:
        await storage.acquire("run", "the next")


async def test_a_missing_program_is_named_and_the_owner_is_not_disturbed(tmp_path):
    async with FileStorage(tmp_path / "state") as storage:
        kernel, _ = make(storage, {"listen": listen})
        async with kernel:
            await kernel.submit("listen", task_id="l")
            await kernel.idle()
            before = await asyncio.to_thread(digests, tmp_path)
            stranger, _ = make(f"file:{tmp_path}/state", {"count": count}, takeover=True)
            with pytest.raises(RestoreError, match="'listen'") as caught:
                async with stranger:
                    pass
            assert caught.value.missing
            assert caught.value.hint
            assert await asyncio.to_thread(digests, tmp_path) == before
            await kernel.send("l", "still the owner")
    assert await say(f"file:{tmp_path}/state", "back") == ["still the owner", "back"]


def flip_acknowledged_byte(folder, at):
    """Damage the newest segment in the middle of its bytes."""
    segment = max(folder.glob("state/*/seg.*"), key=lambda path: path.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[int(len(data) * at)] ^= 0x40
    segment.write_bytes(data)


@pytest.fixture
async def damaged(tmp_path):
    """A folder with a run of five messages, an acknowledged entry of which has rotted."""
    assert len(await say(f"file:{tmp_path}/state", *"abcde")) == 5
    await asyncio.to_thread(flip_acknowledged_byte, tmp_path, 0.5)
    return tmp_path


async def test_a_damaged_run_is_refused_and_nothing_is_touched(damaged):
    before = await asyncio.to_thread(digests, damaged)
    with pytest.raises(CorruptionError) as caught:
        await say(f"file:{damaged}/state", "on")
    assert caught.value.lost
    assert 'on_corruption="fall_back"' in caught.value.hint
    after = await asyncio.to_thread(digests, damaged)
    assert after == before


async def test_a_damaged_run_falls_back_loudly_when_told_so(damaged, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    await asyncio.to_thread(shutil.copytree, damaged / "state", copy / "state")
    before = await asyncio.to_thread(digests, damaged)
    kernel, _ = make(f"file:{damaged}/state", {"listen": listen}, on_corruption="fall_back")
    async with kernel:
        history = [message.text for message in kernel.context("l").history]
        assert history == list("abcde")[: len(history)]
        assert len(history) < 5
        assert any("damaged" in note for note in kernel.restored.notes)
        assert any("left out" in note for note in kernel.restored.notes)
        await kernel.send("l", "on another branch")
    after = await asyncio.to_thread(digests, damaged)
    segments = {name: digest for name, digest in before.items() if "/seg." in name}
    assert segments.items() <= after.items(), "what is damaged is kept"
    async with FileStorage(damaged / "state") as storage:
        assert any(info.damage for info in await list_checkpoints(storage, "run"))
    assert (await say(f"file:{damaged}/state", "and on"))[-2:] == ["on another branch", "and on"]


async def test_after_a_clean_stop_a_kernel_still_answers():
    kernel, hook = make(MemoryStorage(), {"count": count})
    async with kernel:
        await kernel.submit("count", task_id="c")
        await kernel.join("c")
        await kernel.stop()
        assert (await kernel.join("c")).text == "counted"
    assert (await kernel.join("c")).text == "counted"
    assert hook.stats.checkpoints > 0


async def test_a_second_hook_of_a_restored_kernel_is_refused_and_the_first_lets_go():
    state, clock = MemoryStorage(), ManualClock()
    await say(state, "one", clock=clock)
    hooks = [CheckpointHook(storage, every=None, owner_wait=0) for storage in (state, MemoryStorage())]
    with pytest.raises(UsageError, match="only one hook restore"):
        async with Scheduler({"listen": listen}, run_id="run", hooks=hooks):
            pass
    assert await say(MemoryStorage(state._state), "two", clock=clock) == ["one", "two"]


async def test_a_start_that_is_cancelled_lets_go_of_the_run():
    state, clock = MemoryStorage(), ManualClock()
    other = MemoryStorage(state._state)
    held = await other.acquire("run", "somebody")
    kernel, _ = make(state, {"listen": listen}, clock=clock, owner_wait=60)
    entering = asyncio.create_task(tasks_of(kernel))
    await settled()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await other.release("run", held.epoch)
    assert await say(other, "one") == ["one"]


class WatchedStorage:
    """Counts what is read, and does something just before the run is acquired."""

    def __init__(self, storage, before):
        self._storage, self._before = storage, before
        self.reads = 0

    def __getattr__(self, name):
        return getattr(self._storage, name)

    async def read(self, *arguments, **options):
        self.reads += 1
        return await self._storage.read(*arguments, **options)

    async def acquire(self, *arguments, **options):
        await self._before()
        return await self._storage.acquire(*arguments, **options)


async def nothing():
    return


async def test_a_run_that_nobody_added_to_is_read_once():
    storage = MemoryStorage()
    await say(storage, "one")
    entries = len(await list_checkpoints(storage, "run"))
    watched = WatchedStorage(storage, nothing)
    assert await say(watched, "two") == ["one", "two"]
    assert watched.reads == entries


async def test_what_an_owner_adds_between_the_rehearsal_and_its_leaving_is_restored():
    storage = MemoryStorage()
    await say(storage, "one")

    async def another_life():
        await say(storage, "two")

    assert await say(WatchedStorage(storage, another_life), "three") == ["one", "two", "three"]
