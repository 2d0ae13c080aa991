"""OS signals: taken only where nobody else has them, and given back."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from hook_kit import count, listen, make, settled, triggers

from kernelckpt import FileStorage, MemoryStorage, load
from kernelckpt.errors import SchedulerStopped
from kernelckpt.log import list_checkpoints

CHILD = Path(__file__).with_name("signal_child.py")


async def begin(folder, mode):
    """A child that is at work."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHILD),
        str(folder),
        mode,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    with anyio.fail_after(30):
        line = await process.stdout.readline()
    assert line == b"working\n", (await process.stderr.read()).decode()
    return process


async def end(process):
    """What the child said until it ended, and its complaints."""
    with anyio.fail_after(30):
        out, complaints = await process.communicate()
    return out.decode(), complaints.decode()


async def saved(folder):
    """The newest state, and what asked for it."""
    async with FileStorage(folder) as storage:
        newest = (await list_checkpoints(storage, "run"))[-1]
        return await load(storage, "run"), newest.trigger


async def test_sigusr1_asks_for_a_checkpoint_and_is_given_back():
    storage = MemoryStorage()
    kernel, _ = make(storage, {"listen": listen}, durable=False, waits=False)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    async with kernel:
        await kernel.submit("listen", task_id="l")
        assert await triggers(storage) == []
        os.kill(os.getpid(), signal.SIGUSR1)
        with anyio.fail_after(10):
            while not await triggers(storage):
                await asyncio.sleep(0)
        assert await triggers(storage) == ["SIGUSR1"]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_handler_of_the_host_stays():
    heard = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append("host"))
    handler = signal.getsignal(signal.SIGUSR1)
    try:
        storage = MemoryStorage()
        kernel, _ = make(storage, {"listen": listen}, durable=False, waits=False)
        async with kernel:
            await kernel.submit("listen", task_id="l")
            os.kill(os.getpid(), signal.SIGUSR1)
            await settled()
            assert heard == ["host"]
            assert await triggers(storage) == []
        assert signal.getsignal(signal.SIGUSR1) is handler
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


async def test_other_signals_can_be_chosen():
    storage = MemoryStorage()
    kernel, _ = make(
        storage, {"listen": listen}, durable=False, waits=False, signals=[signal.SIGUSR2], stop_signals=[]
    )
    async with kernel:
        await kernel.submit("listen", task_id="l")
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGUSR2)
        with anyio.fail_after(10):
            while not await triggers(storage):
                await asyncio.sleep(0)
        assert await triggers(storage) == ["SIGUSR2"]


async def test_outside_the_main_thread_signals_are_left_alone():
    storage = MemoryStorage()

    async def whole_life():
        kernel, hook = make(storage, {"count": count})
        async with kernel:
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
            await kernel.submit("count", task_id="c")
            result = await kernel.join("c")
            await hook.checkpoint()
            return result.text

    assert await asyncio.to_thread(lambda: asyncio.run(whole_life())) == "counted"
    assert (await load(storage, "run")).turn == 5


async def test_sigterm_is_followed_by_a_last_checkpoint_and_the_signals_own_end(tmp_path):
    process = await begin(tmp_path / "state", "volatile")
    process.send_signal(signal.SIGTERM)
    _, complaints = await end(process)
    assert process.returncode == -signal.SIGTERM, complaints
    snapshot, trigger = await saved(tmp_path / "state")
    assert trigger == "stop"
    assert snapshot.turn >= 3
    assert len(snapshot.context.history_messages) == snapshot.turn


async def test_sigterm_ends_a_body_that_waits_for_something_else(tmp_path):
    process = await begin(tmp_path / "state", "elsewhere")
    process.send_signal(signal.SIGTERM)
    _, complaints = await end(process)
    assert process.returncode == -signal.SIGTERM, complaints
    assert (await saved(tmp_path / "state"))[1] == "stop"


async def test_ctrl_c_under_asyncio_run_leaves_cleanly(tmp_path):
    process = await begin(tmp_path / "state", "volatile")
    process.send_signal(signal.SIGINT)
    out, complaints = await end(process)
    assert process.returncode == -signal.SIGINT, complaints
    assert "left" in out
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    snapshot, trigger = await saved(tmp_path / "state")
    assert (trigger, snapshot.turn >= 3) == ("stop", True)


async def test_a_host_stops_the_kernel_with_request_stop_and_late_turns_leave_no_trace():
    storage, begun = MemoryStorage(), asyncio.Event()

    async def stuck(turn):
        turn.say("never seen")
        begun.set()
        await anyio.sleep_forever()

    kernel, hook = make(storage, {"stuck": stuck}, durable=False)
    async with kernel:
        await kernel.submit("stuck", task_id="s")
        await begun.wait()
        hook.request_stop(grace=0)
        with pytest.raises(SchedulerStopped):
            await kernel.join("s")
    assert await triggers(storage) == ["stop"]
    snapshot = await load(storage, "run")
    assert snapshot.tasks[0].state.label() == "ready"
    assert snapshot.context.history_messages == ()


async def test_a_host_with_its_own_sigterm_handler_keeps_it(tmp_path):
    process = await begin(tmp_path / "state", "own")
    process.send_signal(signal.SIGTERM)
    with anyio.fail_after(30):
        assert await process.stdout.readline() == b"the host's own handler\n"
    assert process.returncode is None
    process.kill()
    await end(process)


async def test_a_kernel_in_a_thread_dies_of_sigterm_as_if_there_were_none(tmp_path):
    process = await begin(tmp_path / "state", "thread")
    process.send_signal(signal.SIGTERM)
    await end(process)
    assert process.returncode == -signal.SIGTERM
