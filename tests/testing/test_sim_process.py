"""Simulated processes: frozen, they stand still; killed, no line of them runs any more."""

import asyncio

import anyio
import pytest

from kernelckpt.testing import SimKilledError, SimLoop, SimProcess


def run(main):
    with SimLoop() as loop:
        return loop.run(main(loop))


def test_a_frozen_process_goes_on_late_and_knows_nothing_of_it():
    async def main(loop):
        async def tick():
            while True:
                await anyio.sleep(1)
                ticks.append(loop.time())

        ticks = []
        process = loop.process("ticker")
        process.start(tick())
        await asyncio.sleep(2.5)
        process.freeze()
        await asyncio.sleep(10)
        assert ticks == [1, 2]
        process.thaw()
        await asyncio.sleep(1.2)
        assert ticks == [1, 2, 12.5, 13.5]

    run(main)


def test_nothing_of_a_killed_process_counts():
    async def main(loop):
        async def nested():
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep, 10)
                    await anyio.sleep(10)
            finally:
                seen.append(SimProcess.is_dead())
                await anyio.sleep(1)
                seen.append("never")

        seen = []
        process = loop.process("victim")
        process.at_kill.append(lambda: seen.append("files are closed"))
        task = process.start(nested())
        await asyncio.sleep(1)
        process.kill()
        process.kill()
        assert seen == ["files are closed", True]
        await asyncio.sleep(100)
        assert seen == ["files are closed", True]
        assert not task.done()
        assert not SimProcess.is_dead()

    run(main)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_call_in_an_executor_ends_where_it_lets_time_pass(frozen):
    async def main(loop):
        def work():
            try:
                seen.append("begun")
                loop.pause(5)
                seen.append("never")
            except SimKilledError:
                with pytest.raises(SimKilledError):
                    loop.pause(1)
                seen.append("cut off")
                raise

        seen = []
        process = loop.process("victim")
        process.start(anyio.to_thread.run_sync(work))
        await asyncio.sleep(1)
        if frozen:
            process.freeze()
            await asyncio.sleep(20)
        process.kill()
        assert seen == ["begun", "cut off"]
        await asyncio.sleep(20)
        assert await anyio.to_thread.run_sync(lambda: 7) == 7

    run(main)


def test_processes_are_frozen_and_killed_by_themselves():
    async def main(loop):
        one, other = loop.process("one"), loop.process("other")
        tasks = [process.start(anyio.sleep(1)) for process in (one, other)]
        one.freeze()
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.done() for task in tasks] == [False, True]
        one.kill()
        one.thaw()
        await asyncio.sleep(10)
        assert not tasks[0].done()

    run(main)


def test_a_process_left_frozen_is_killed_in_the_end():
    async def main(loop):
        process = loop.process("frozen")
        process.start(anyio.sleep(1))
        process.freeze()
        return process

    assert run(main).state == "killed"
