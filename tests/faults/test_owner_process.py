"""Two processes and one run: one of them owns it, and one that lost it does nothing more."""

import asyncio
import signal
import sys
from pathlib import Path

import anyio
import pytest

from kernelckpt import FileStorage, load

CHILD = Path(__file__).with_name("owner_process.py")


class Owner:
    """One process; what it says, line by line."""

    def __init__(self, process):
        self.process = process
        self.said = []

    @classmethod
    async def begin(cls, folder, owner_wait=0.0, *, takeover=False):
        pipe = asyncio.subprocess.PIPE
        arguments = [f"file:{folder}", str(owner_wait), "takeover" if takeover else "wait"]
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, str(CHILD), *arguments, stdin=pipe, stdout=pipe, stderr=pipe
            )
        )

    async def says(self, beginning):
        """The next line that begins so; earlier ones are remembered."""
        with anyio.fail_after(30):
            while line := (await self.process.stdout.readline()).decode().strip():
                self.said.append(line)
                if line.startswith(beginning):
                    return line
        raise AssertionError(f"{self.said}, then: {(await self.process.stderr.read()).decode()}")

    def send(self, text):
        self.process.stdin.write(f"{text}\n".encode())

    async def ends(self):
        """Its return code and its complaints; what it still says is remembered."""
        with anyio.fail_after(30):
            out, complaints = await self.process.communicate()
        self.said += out.decode().splitlines()
        return self.process.returncode, complaints.decode()

    async def files(self, text):
        """Have it file something, to the end."""
        self.send(text)
        await self.says(f"acknowledged {text}")
        self.send("idle?")
        await self.says("acknowledged idle?")
        assert f"filed {text}" in self.said


@pytest.fixture
async def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
async def begin(folder):
    """Begins processes, and sees to it that none is left."""
    owners = []

    async def start(*arguments, **options):
        owners.append(await Owner.begin(folder, *arguments, **options))
        return owners[-1]

    yield start
    for owner in owners:
        if owner.process.returncode is None:
            owner.process.kill()
            await owner.ends()


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
    second = await begin(30)
    first.process.kill()
    await first.ends()
    assert "['one']" in await second.says("started")
    await second.files("two")
    second.process.stdin.close()
    assert await second.ends() == (0, "")


async def test_the_second_follows_when_the_first_leaves(begin):
    first = await begin()
    await first.says("started")
    second = await begin(30)
    first.process.stdin.close()
    assert (await first.ends())[0] == 0
    await second.says("started")


async def test_an_owner_stopped_during_a_takeover_does_nothing_more_when_it_continues(begin, folder):
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
    async with FileStorage(folder) as storage:
        history = [message.text for message in (await load(storage, "run")).context.history_messages]
    assert history == ["one", "three", "four"]


async def test_an_owner_stopped_at_any_point_of_its_work_files_at_most_what_is_in_doubt(begin, folder):
    first = await begin()
    await first.says("started")
    for number in range(300):
        first.send(f"item-{number}")
    await first.says("filed item-20")
    first.process.send_signal(signal.SIGSTOP)
    second = await begin(takeover=True)
    await second.says("started")
    async with FileStorage(folder) as storage:
        taken = await load(storage, "run")
    committed = [message.text for message in taken.context.history_messages]
    calls = [effect.status.value for effects in taken.effects.values() for effect in effects.values()]
    first.process.send_signal(signal.SIGCONT)
    first.process.stdin.close()
    code, _ = await first.ends()
    assert code == 1
    filed = [line.removeprefix("filed ") for line in first.said if line.startswith("filed")]
    assert filed[: len(committed)] == committed
    known = len(committed) + calls.count("returned")
    assert known <= len(filed) <= known + calls.count("started"), "at most what was begun before"
    assert calls.count("started") <= 1
