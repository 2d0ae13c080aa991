"""A run in another storage: the same bytes, or a mark that says that they are not all there."""

import asyncio
import itertools

import pytest
from copy_kit import (
    KEYS,
    RUN,
    SHAPES,
    Wrapped,
    breaks_off,
    empty,
    everything,
    live,
    long,
    post,
    small,
    write_base,
    write_entries,
)
from hook_kit import count, listen, make
from msgspec import structs

from kernelckpt import (
    FileStorage,
    KeyRing,
    MemoryStorage,
    Message,
    Retention,
    SendMessage,
    SqliteStorage,
    copy_run,
    load,
    post_command,
    verify,
)
from kernelckpt.abc import PART_BYTES, Claim
from kernelckpt.errors import (
    CorruptionError,
    NotFoundError,
    RunOwnedError,
    StorageError,
    UnfinishedCopyError,
    UnknownOutcomeError,
    UsageError,
)
from kernelckpt.log import RunLog
from kernelckpt.storage import MemoryState


@pytest.fixture(params=["memory", "file", "sqlite"])
async def target(request, tmp_path):
    kinds = {
        "memory": MemoryStorage,
        "file": lambda: FileStorage(tmp_path / "target"),
        "sqlite": lambda: SqliteStorage(tmp_path / "target.db"),
    }
    async with kinds[request.param]() as storage:
        yield storage


@pytest.fixture
async def source():
    async with MemoryStorage(name="source") as storage:
        yield storage


@pytest.fixture
async def copied():
    async with MemoryStorage(name="target") as storage:
        yield storage


# what is copied


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_copy_is_the_run_byte_for_byte(source, target, shape):
    await SHAPES[shape](source)
    steps = []
    report = await copy_run(source, target, RUN, on_progress=lambda *step: steps.append(step))
    entries, blobs, messages = await everything(source)
    assert await everything(target) == (entries, blobs, messages)
    size = sum(len(entry[-1]) for entry in entries) + sum(map(len, blobs.values()))
    assert (report.entries, report.blobs, report.messages) == (len(entries), len(blobs), len(messages))
    assert (report.new_entries, report.new_blobs) == (report.entries, report.blobs)
    assert report.size == report.new_size == size
    assert steps == sorted(steps)
    assert not steps or steps[-1] == (2 * size, 2 * size)


async def test_a_run_of_a_folder_is_copied_there_and_back(source, tmp_path):
    """Holes and epochs survive two kinds of storages, of which each keeps them in its own way."""
    await long(source)
    async with FileStorage(tmp_path / "one") as one, SqliteStorage(tmp_path / "two") as two:
        await copy_run(source, one, RUN)
        await copy_run(one, two, RUN)
        async with FileStorage(tmp_path / "three") as three, MemoryStorage() as back:
            await copy_run(two, three, RUN)
            await copy_run(three, back, RUN)
            assert await everything(back) == await everything(source)


async def test_a_kernel_goes_on_from_the_copy_as_from_the_run(source, target):
    await long(source)
    await copy_run(source, target, RUN)
    expected = await load(source, RUN)
    assert await load(target, RUN) == expected
    assert (await verify(target, RUN, all_checkpoints=True)).ok
    kernel, _ = make(target, {"count": count, "listen": listen})
    async with kernel:
        assert {task.id: task.turns for task in kernel.snapshot().tasks} == {
            task.id: task.turns for task in expected.tasks
        }
        await kernel.submit("count", task_id="new")
        await kernel.join("new")
        await kernel.idle()
        texts = [message.text for message in kernel.context("l").history]
    assert texts == ["message 0", "message 1", "message 2"]
    assert (await verify(target, RUN)).ok


async def test_an_encrypted_run_needs_its_key_only_to_be_read(source, target):
    await SHAPES["sealed"](source)
    await copy_run(source, target, RUN)
    keys = KeyRing(KEYS)
    assert await load(target, RUN, keys=keys) == await load(source, RUN, keys=keys)


async def test_many_entries(source, copied):
    await write_entries(source, 20_000)
    report = await copy_run(source, copied, RUN)
    assert report.new_entries == report.newest == 20_000
    assert await everything(copied) == await everything(source)


async def test_a_large_blob_is_never_held_whole(source, copied):
    data = bytes(range(256)) * 4096 * 20 + b"end"
    await source.acquire(RUN, "a test")
    for index in range(0, len(data), PART_BYTES):
        await source.write_part(RUN, 1, "base-1", index // PART_BYTES, [data[index : index + PART_BYTES]])
    await source.finish_blob(RUN, 1, "base-1")
    await source.write_part(RUN, 1, "nothing", 0, [])
    await source.finish_blob(RUN, 1, "nothing")
    asked = []

    class Watched(MemoryStorage):
        async def read_blob(self, run_id, name, *, offset=0, length=None):
            asked.append(length)
            return await super().read_blob(run_id, name, offset=offset, length=length)

    reader = Watched(source._state, name="source")
    assert (await copy_run(reader, copied, RUN)).new_blobs == 2
    assert await copied.read_blob(RUN, "base-1") == data
    assert await copied.read_blob(RUN, "nothing") == b""
    assert set(asked[1:]) == {PART_BYTES}  # but for the question whether the source is a copy itself


async def test_entries_are_asked_for_together_but_never_many_bytes_of_them(source, copied):
    """A far storage is not waited for entry by entry."""
    await source.acquire_as(RUN, "a test", Claim(1, 0))
    for sequence in range(1, 101):
        body = b"x" * (PART_BYTES // 3 if sequence > 90 else 10)
        await source.append(RUN, 1, sequence, [body], b"")
    read, most = [], {}

    class Watched(MemoryStorage):
        async def read(self, run_id, epoch, sequence, **options):
            read.append(sequence)
            most["all"] = max(most.get("all", 0), len(read))
            most["large"] = max(most.get("large", 0), sum(other > 90 for other in read))
            data = await super().read(run_id, epoch, sequence, **options)
            read.remove(sequence)
            return data

    await copy_run(Watched(source._state, name="source"), copied, RUN)
    assert await everything(copied) == await everything(source)
    assert most == {"all": 16, "large": 3}


# a source that lives


async def test_what_came_since_is_copied_when_it_is_copied_again(source, target):
    await small(source)
    first = await copy_run(source, target, RUN)
    again = await copy_run(source, target, RUN)
    assert (again.entries, again.new_entries, again.new_size) == (first.entries, 0, 0)
    await live(source, "b")
    await write_base(source)
    third = await copy_run(source, target, RUN)
    assert third.new_entries == third.entries - first.entries
    assert third.new_blobs == 1
    assert await everything(target) == await everything(source)


async def test_the_owner_of_the_source_goes_on_meanwhile(source, copied):
    kernel, _ = make(source, {"count": count})
    async with kernel:
        for number in range(5):
            await kernel.submit("count", task_id=f"task {number}")
            await copy_run(source, copied, RUN)
            assert (await verify(copied, RUN)).ok
        await kernel.idle()
    await copy_run(source, copied, RUN)
    assert await load(copied, RUN) == await load(source, RUN)


@pytest.mark.parametrize("nth", range(1, 8))
async def test_what_is_pruned_while_it_is_copied_is_left_out(source, copied, nth):
    await live(source, "a")
    await write_base(source)
    await live(source, "b")
    reads = []

    async def prune(name):
        reads.append(name == "read")
        if sum(reads) == nth and reads[-1]:
            await write_base(source, Retention(bases=1))

    await copy_run(Wrapped(source, before=prune), copied, RUN)
    assert await load(copied, RUN) == await load(source, RUN)
    assert (await verify(copied, RUN)).ok


async def test_a_source_that_is_pruned_again_and_again_is_given_up(source, copied):
    await small(source)

    class Forgetful(MemoryStorage):
        async def read(self, run_id, epoch, sequence, **options):
            raise NotFoundError("pruned", hint="list again")

    with pytest.raises(StorageError, match="pruned faster than it can be copied"):
        await copy_run(Forgetful(source._state, name="source"), copied, RUN)


@pytest.mark.parametrize("when", ["posted", "list_newest", "list_blobs"])
async def test_a_command_that_is_taken_meanwhile_is_neither_lost_nor_done_twice(source, copied, when):
    """It is in the inbox until after its entry is durable: between the two it would be in neither."""
    kernel, _ = make(source, {"listen": listen}, inbox=None)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.idle()
    await post(source, "once")
    taken = []

    async def take(name):
        if name == when and not taken:
            taken.append(name)
            await live(source, "l", listen)

    await copy_run(Wrapped(source, after=take), copied, RUN)
    await live(copied, "l", listen)
    snapshot = await load(copied, RUN)
    assert [message.text for message in snapshot.contexts["l"].history_messages] == ["once"]


async def test_an_inbox_that_never_rests_is_given_up(source, copied):
    await small(source)
    names = iter(range(1000))

    async def change(name):
        if name == "list_blobs":
            await source.delete_posted(RUN, [message.message_id for message in await source.posted(RUN)])
            await source.post(RUN, f"{next(names)}", b"")

    await source.post(RUN, "first", b"")
    with pytest.raises(StorageError, match="inbox changes faster"):
        await copy_run(Wrapped(source, after=change), copied, RUN)
    assert await everything(copied) is None


async def test_a_command_that_was_taken_since_is_not_done_again_by_the_copy(source, target):
    await live(source, "l", listen)
    await post(source, "once")
    await copy_run(source, target, RUN)
    await live(source, "l", listen)
    await copy_run(source, target, RUN)
    assert await target.posted(RUN) == []
    await live(target, "l", listen)
    snapshot = await load(target, RUN)
    assert [message.text for message in snapshot.contexts["l"].history_messages] == ["once"]


# interruptions


async def refuses_or_is_whole(target, whole):
    """Whoever meets what an interrupted copy left: no run, a mark, or all of it."""
    found = await everything(target)
    if found is None or found == whole:
        return
    entries, blobs, inbox = found
    assert all(entry in whole[0] for entry in entries)
    if not entries and not blobs:
        assert not inbox
        return  # claimed, and nothing more
    for use in (load(target, RUN), post_command(target, RUN, SendMessage("l", Message.user("x")))):
        with pytest.raises(UnfinishedCopyError, match="from memory:source to memory:target was not finished"):
            await use
    kernel, _ = make(target, {"count": count, "listen": listen})
    with pytest.raises(UnfinishedCopyError, match="copy it again"):
        async with kernel:
            pass


@pytest.mark.parametrize("shape", ["empty", "long"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [StorageError, asyncio.CancelledError])
async def test_a_copy_that_is_broken_off_anywhere_is_gone_on_with(shape, after, error):
    source = MemoryStorage(name="source")
    await SHAPES[shape](source)
    whole = await everything(source)
    for at in itertools.count(1):
        state = MemoryState()
        wrap, calls = breaks_off(at, after=after, error=error)
        async with MemoryStorage(state, name="target") as first:
            copying = asyncio.create_task(copy_run(wrap(source), wrap(first), RUN))
            await asyncio.wait([copying])
        if len(calls) < at:
            break
        assert calls[-1] == "release" or copying.cancelled() or isinstance(copying.exception(), StorageError)
        target = MemoryStorage(state, name="target")
        await refuses_or_is_whole(target, whole)
        await copy_run(source, target, RUN)
        assert await everything(target) == whole, calls
    assert at > 10
    copying.result()


async def test_a_copy_that_goes_on_copies_only_what_is_missing(source):
    await write_entries(source, 50)
    state = MemoryState()
    wrap, _ = breaks_off(31, call="append")
    with pytest.raises(StorageError):
        await copy_run(source, wrap(MemoryStorage(state, name="target")), RUN)
    report = await copy_run(source, MemoryStorage(state, name="target"), RUN)
    assert (report.entries, report.new_entries) == (50, 20)


async def test_an_interrupted_copy_whose_source_was_pruned_since_is_gone_on_with(source):
    """Nothing of what it has is in the source any more; the mark says that it came from there."""
    await live(source, "a")
    state = MemoryState()
    wrap, _ = breaks_off(2, call="append")
    with pytest.raises(StorageError):
        await copy_run(source, wrap(MemoryStorage(state, name="target")), RUN)
    await write_base(source, Retention(bases=1))
    await write_base(source, Retention(bases=1))
    copied = MemoryStorage(state, name="target")
    assert await copied.list_entries(RUN)
    await copy_run(source, copied, RUN)
    assert await load(copied, RUN) == await load(source, RUN)
    assert (await verify(copied, RUN)).ok


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_answer_that_was_lost_is_asked_for_again(source, arrives):
    await write_entries(source, 9)

    class Lossy(MemoryStorage):
        lost = 0

        async def append(self, run_id, epoch, sequence, entry, meta):
            if sequence % 3 == 0 and sequence > self.lost:
                self.lost = sequence
                if arrives:
                    await super().append(run_id, epoch, sequence, entry, meta)
                raise UnknownOutcomeError("the connection broke", hint="look")
            await super().append(run_id, epoch, sequence, entry, meta)

    target = Lossy(name="target")
    await copy_run(source, target, RUN)
    assert await everything(target) == await everything(source)


# refusals


async def test_nobody_copies_to_where_the_run_is(source):
    await small(source)
    for target in (source, MemoryStorage(source._state, name="source")):
        with pytest.raises(UsageError, match="is source and target"):
            await copy_run(source, target, RUN)


async def test_a_run_that_is_not_there(source, copied):
    with pytest.raises(NotFoundError):
        await copy_run(source, copied, "nobody")
    assert await copied.list_runs() == []


async def test_another_run_of_that_id_is_not_touched(source, target):
    await small(source)
    other = MemoryStorage(name="other")
    await live(other, "b")
    await copy_run(other, target, RUN)
    before = await everything(target)
    with pytest.raises(UsageError, match=r"not an earlier state of the one in memory:source: entry 1 there"):
        await copy_run(source, target, RUN)
    assert await everything(target) == before
    assert (await verify(target, RUN)).ok


async def test_a_copy_that_went_on_by_itself_is_not_touched(source, target):
    await small(source)
    await copy_run(source, target, RUN)
    await live(target, "b")
    before = await everything(target)
    with pytest.raises(UsageError, match=r"comes after the newest here"):
        await copy_run(source, target, RUN)
    await live(source, "c")
    with pytest.raises(UsageError, match=r"is another one than here"):
        await copy_run(source, target, RUN)
    assert await everything(target) == before


async def test_a_copy_that_was_owned_and_wrote_nothing_is_not_touched(source, target):
    await small(source)
    await copy_run(source, target, RUN)
    for _ in range(2):
        await empty(target)
    await live(source, "c")
    before = await everything(target)
    with pytest.raises(UsageError, match="was started there"):
        await copy_run(source, target, RUN)
    assert await everything(target) == before


async def test_what_has_nothing_in_common_with_the_source_any_more_is_not_touched(source, copied):
    await small(source)
    await copy_run(source, copied, RUN)
    await write_base(source, Retention(bases=1))
    await write_base(source, Retention(bases=1))
    with pytest.raises(UsageError, match="the newest there, is not here any more"):
        await copy_run(source, copied, RUN)


async def test_a_copy_that_lacks_an_entry_is_not_gone_on_with(source, copied):
    await write_entries(source, 5)
    await copy_run(source, copied, RUN)
    del copied._state.runs[RUN].entries[2]
    with pytest.raises(UsageError, match="entry 2 is missing there, and entry 3 is not"):
        await copy_run(source, copied, RUN)


async def test_a_living_owner_of_the_target_is_not_disturbed(source, target):
    await small(source)
    await copy_run(source, target, RUN)
    await live(source, "b")
    other = type(target)(target._state) if isinstance(target, MemoryStorage) else type(target)(target.path)
    (newest,) = await target.list_newest(RUN, limit=1)
    await other.acquire_as(RUN, "somebody", Claim(newest.epoch, newest.sequence))
    with pytest.raises(RunOwnedError, match="owned by somebody"):
        await copy_run(source, target, RUN)
    await other.aclose()
    await copy_run(source, target, RUN)


async def test_damage_is_named_and_nothing_is_copied(tmp_path, copied):
    async with FileStorage(tmp_path / "source") as source:
        await small(source)
    (segment,) = (tmp_path / "source").glob("*/seg.*")
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    async with FileStorage(tmp_path / "source") as source:
        with pytest.raises(CorruptionError, match=r"is damaged and not copied: .*entry \d+ of epoch 1"):
            await copy_run(source, copied, RUN)
    if RUN in await copied.list_runs():
        with pytest.raises(UnfinishedCopyError):
            await load(copied, RUN)


async def test_listed_damage_is_found_before_anything_is_copied(source, copied):
    await write_entries(source, 9)

    class Damaged(MemoryStorage):
        async def list_entries(self, run_id, **options):
            found = await super().list_entries(run_id, **options)
            return [
                structs.replace(entry, damage="rotten") if entry.sequence in {3, 5} else entry
                for entry in found
            ]

    damaged = Damaged(source._state, name="source")
    with pytest.raises(
        CorruptionError, match="entry 3 of epoch 1: rotten; entry 5 of epoch 1: rotten"
    ) as caught:
        await copy_run(damaged, copied, RUN)
    assert len(caught.value.lost) == 2
    assert await copied.list_runs() == []


async def test_an_unfinished_copy_is_not_copied_further(source):
    await small(source)
    wrap, _ = breaks_off(2, call="append")
    state = MemoryState()
    with pytest.raises(StorageError):
        await copy_run(source, wrap(MemoryStorage(state, name="target")), RUN)
    with pytest.raises(UnfinishedCopyError):
        await copy_run(MemoryStorage(state, name="target"), MemoryStorage(name="third"), RUN)


@pytest.mark.parametrize("what", ["read", "read_blob"])
async def test_a_target_that_does_not_keep_what_it_is_given_is_found_out(source, what):
    await long(source)

    class Rotten(MemoryStorage):
        pass

    async def rotten(self, *arguments, **options):
        data = await getattr(MemoryStorage, what)(self, *arguments, **options)
        return data if len(data) < 200 else bytes([data[0] ^ 1]) + data[1:]

    setattr(Rotten, what, rotten)
    target = Rotten(name="target")
    with pytest.raises(CorruptionError, match=r"memory:target does not give back (entry|blob)"):
        await copy_run(source, target, RUN)
    with pytest.raises(UnfinishedCopyError):
        await load(MemoryStorage(target._state), RUN)


async def test_a_kernel_that_waits_for_a_copy_does_not_take_half_of_it(source, copied):
    """It asked before there was a mark, and the copy is killed while it waits."""
    await small(source)
    await copied.acquire_as(RUN, "a copy", Claim(1, 0))

    class Clock:
        def monotonic(self):
            return 0.0

        async def sleep(self, seconds):
            await copied.write_part(RUN, 1, "unfinished-copy", 0, [b"memory:source"])
            await copied.finish_blob(RUN, 1, "unfinished-copy")
            await copied.release(RUN, 1)

    with pytest.raises(UnfinishedCopyError):
        await RunLog.open(MemoryStorage(copied._state), RUN, holder="a kernel", clock=Clock())
    await copy_run(source, copied, RUN)  # no epoch was granted, which would have kept this from going on
    assert await everything(copied) == await everything(source)
