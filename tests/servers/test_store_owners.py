"""Two processes and one run, on every storage: one owns it, and one that lost it does nothing more."""

# ruff: noqa: F811 - a fixture is imported, and named by what uses it

import signal

import pytest
from owner_kit import PATIENCE, beginning
from stores import store  # noqa: F401 - a fixture

from kernelckpt import load, open_storage


@pytest.fixture
async def begin(store):
    async with beginning(store.url) as begin:
        yield begin


async def test_the_second_waits_then_fails_and_names_the_owner(begin):
    first = await begin()
    pid = (await first.says("started")).split()[1]
    second = await begin(0.3)
    code, complaints = await second.ends()
    assert code == 1
    assert second.said == []
    last = complaints.rstrip().splitlines()[-1]
    assert "RunOwnedError" in last
    assert f"process {pid} on " in last
    assert "take the run over" in last
    await first.files("still mine")


async def test_the_second_follows_when_the_first_is_killed(begin):
    first = await begin()
    await first.says("started")
    await first.files("one")
    second = await begin(PATIENCE)
    first.process.kill()
    await first.ends()
    assert "['one']" in await second.says("started")
    await second.files("two")
    second.process.stdin.close()
    code, told = await second.ends()
    assert (code, told.count("\n")) == (0, told.count("its owner is alive")), told


async def test_the_second_follows_when_the_first_leaves(begin):
    first = await begin()
    await first.says("started")
    second = await begin(PATIENCE)
    first.process.stdin.close()
    assert (await first.ends())[0] == 0
    await second.says("started")


async def test_an_owner_stopped_during_a_takeover_does_nothing_more_when_it_continues(begin, store):
    first = await begin()
    await first.says("started")
    await first.files("one")
    first.process.send_signal(signal.SIGSTOP)
    first.send("two")
    second = await begin(takeover=True)
    assert "['one']" in await second.says("started")
    await second.files("three")
    first.process.send_signal(signal.SIGCONT)
    code, complaints = await first.ends()
    assert code == 1
    assert "FencedError" in complaints.rstrip().splitlines()[-1]
    assert first.said[-1] == "refused two: FencedError"
    assert "filed two" not in first.said
    await second.files("four")
    second.process.stdin.close()
    await second.ends()
    async with open_storage(store.url) as storage:
        history = [message.text for message in (await load(storage, "run")).context.history_messages]
    assert history == ["one", "three", "four"]
