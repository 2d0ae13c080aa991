"""The log over files: what it relies on in memory holds there too."""

import asyncio
import errno

import pytest
from log_kit import RUN, Client, state_of

from kernelckpt.abc import Put
from kernelckpt.errors import CorruptionError
from kernelckpt.log import LogOptions, Retention, RunLog, list_checkpoints, read_run
from kernelckpt.storage import FileStorage
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import FaultyFileOps, FlakyFileOps, SimClock, SimFileSystem, SimLoop


@pytest.fixture
async def folder(tmp_path):
    opened = []

    def open_storage(ops=None):
        opened.append(FileStorage(tmp_path / "state", ops=ops))
        return opened[-1]

    yield open_storage
    for storage in opened:
        await storage.aclose()


async def open_client(storage, clock, **options):
    return Client(await RunLog.open(storage, RUN, holder="test", clock=clock, **options))


async def test_a_run_survives_its_owners(folder, clock):
    expected = ({}, {})
    for generation in range(4):
        storage = folder()
        client = await open_client(storage, clock)
        assert client.state() == expected
        assert client.log.epoch == generation + 1
        for number in range(10):
            client.put(f"t{number}", b"%d" % generation)
            client.say("a", b"%d-%d" % (generation, number))
            await client.flush()
        if generation % 2:
            await client.base()
            await client.log.prune(Retention(bases=1))
        expected = client.state()
        await storage.aclose()
    reader = folder()
    assert state_of(await read_run(reader, RUN)) == expected
    infos = await list_checkpoints(reader, RUN)
    assert infos[-1].kind == "base"
    for info in infos:
        await read_run(reader, RUN, at=info.sequence)


async def test_many_turns_share_a_sync(folder, clock):
    ops = FaultyFileOps(FileOps())
    client = await open_client(folder(ops), clock)
    before = len([call for call, _ in ops.log if call == "fdatasync"])
    async with asyncio.TaskGroup() as group:
        group.create_task(client.log.run())
        for _ in range(10):
            for number in range(50):
                client.put(f"t{number}", b"x")
            await client.log.wait_durable(client.commit)
        await client.log.aclose()
    assert client.log.stats.entries == 10
    assert len([call for call, _ in ops.log if call == "fdatasync"]) - before == 10
    assert state_of(await read_run(folder(), RUN)) == client.state()


@pytest.mark.parametrize("call", ["fdatasync", "pwritev"])
async def test_a_failed_call_is_survived_in_a_new_segment(folder, clock, call):
    ops = FaultyFileOps(FileOps())
    storage = folder(ops)
    told = []
    client = await open_client(
        storage, clock, on_failure=lambda error, count: told.append(type(error).__name__)
    )
    client.put("a", b"1")
    client.say("a", b"1")
    await client.flush()
    ops.fail(call)
    client.put("a", b"2")
    client.say("a", b"2")
    await client.flush()
    assert len(told) == 1
    client.say("a", b"3")
    await client.flush()
    assert state_of(await read_run(folder(), RUN)) == client.state()
    await client.base()
    assert state_of(await read_run(folder(), RUN)) == client.state()


async def test_rot_in_an_acknowledged_entry_is_refused(folder, clock, tmp_path):
    storage = folder()
    client = await open_client(storage, clock, options=LogOptions())
    for number in range(5):
        client.put("a", b"value %d" % number)
        await client.flush()
    await client.log.aclose()
    await storage.aclose()
    (segment,) = (tmp_path / "state").glob("*/seg.*")
    data = bytearray(segment.read_bytes())
    data[data.index(b"value 3")] ^= 1
    segment.write_bytes(data)
    with pytest.raises(CorruptionError, match="entry 4"):
        await read_run(folder(), RUN)
    loaded = await read_run(folder(), RUN, on_corruption="fall_back")
    assert loaded.records == {("row", "a", 0): b"value 2"}
    again = await open_client(folder(), clock, on_corruption="fall_back")
    again.put("a", b"another way")
    assert (await again.flush()).sequence == 6
    assert (await read_run(folder(), RUN)).records == {("row", "a", 0): b"another way"}


def test_an_append_that_took_too_long_and_then_failed_is_not_acknowledged():
    """Its answer came too late; what can be read back was not synced, and a power cut takes it."""
    fs = SimFileSystem()

    async def main(loop):
        ops = FaultyFileOps(FlakyFileOps(fs, loop, loop.process("owner")))

        def fail_late():
            loop.pause(1.5)  # later than the log waits, but it looks whether the entry is there
            raise OSError(errno.EIO, "the disk gave up")

        async with FileStorage("/state", ops=ops) as storage:
            options = LogOptions(append_seconds=1.0)
            log = await RunLog.open(storage, "run", holder="test", clock=SimClock(loop), options=options)
            log.stage([Put(("row", "a", 0), b"first")], 1, 0)
            await log.flush("first")
            ops.before("fdatasync", fail_late)
            log.stage([Put(("row", "a", 0), b"second")], 2, 0)
            await log.flush("second")
            image = next(fs.images(fs.point, 2))  # nothing of what is not synced
            found = await read_run(FileStorage("/state", ops=SimFileSystem.from_image(image)), "run")
            assert found.records == {("row", "a", 0): b"second"}
            await log.aclose()

    with SimLoop() as loop:
        loop.run(main(loop))
