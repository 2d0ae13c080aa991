"""Commands in a run's inbox, and crashes at every point of taking them: each is done once, none is lost."""

from itertools import count
from unittest import mock

import pytest
from crash_kit_fs import repeatable

from kernelckpt import Cancel, CheckpointHook, Message, Scheduler, SendMessage, post_command
from kernelckpt.checkpoint.inbox import Inbox
from kernelckpt.kernel import outside
from kernelckpt.storage import FileStorage
from kernelckpt.testing import CrashExplorer, CrashFoundError, ManualClock, SimFileSystem

pytestmark = pytest.mark.may_block  # the simulated file system is called on the loop; it waits for nothing

RUN, FOLDER = "run", "/machine/state"
TEXTS = ("one", "two", "three")


async def clerk(turn):
    """Say what is sent, for ever."""
    for message in turn.inbox:
        turn.say(message.text)
    return turn.wait_for_message()


class Life:
    """A kernel on a simulated machine, and somebody who posts to it."""

    durable = True

    def __init__(self, fs):
        self.fs, self.clock = fs, ManualClock()
        self.storage = FileStorage(FOLDER, ops=fs)
        self.hook = CheckpointHook(
            self.storage, every=None, owner_wait=0, signals=(), stop_signals=(), durable=self.durable
        )
        self.kernel = Scheduler({"clerk": clerk}, run_id=RUN, hooks=[self.hook], clock=self.clock)

    async def __aenter__(self):
        await self.kernel.__aenter__()
        await self.kernel.submit("clerk", task_id="clerk")
        await self.kernel.idle()
        return self

    async def __aexit__(self, *error):
        await self.kernel.__aexit__(*error)
        await self.storage.aclose()

    async def look(self):
        await self.clock.advance(1.0)
        await self.kernel.idle()

    def said(self):
        return tuple(message.text for message in self.kernel.context("clerk").history)


async def send(storage, text):
    await post_command(storage, RUN, SendMessage("clerk", Message.user(text)), clock=ManualClock())


async def live(fs):
    """Post while a kernel runs and while none does; at which points each text was begun and acknowledged."""
    begun, told = {}, {}

    async def sent(text):
        begun[text] = fs.point
        await send(poster, text)
        told[text] = fs.point

    poster = FileStorage(FOLDER, ops=fs)
    async with Life(fs) as life:
        await sent("one")
        await life.look()
        await sent("two")
        await post_command(poster, RUN, Cancel("nobody"), clock=ManualClock())
        await life.look()
    await sent("three")
    async with Life(fs) as life:
        assert life.said() == TEXTS
    await poster.aclose()
    return begun, told


async def recover(fs):
    """What a kernel has said that is started on what a crash has left; nothing of what was posted is left."""
    async with Life(fs) as life:
        await life.look()
        await life.look()
        said = life.said()
        assert life.kernel.taken_commands() == []
        left = await life.storage.posted(RUN)
        assert list(left) == []
    return said


async def explored(**settings):
    with (
        repeatable(),
        mock.patch("kernelckpt.checkpoint.post.uuid4", count().__next__),
        mock.patch("kernelckpt.checkpoint.hook.holder", return_value="test"),
    ):
        fs = SimFileSystem()
        begun, told = await live(fs)

        def check(said, point):
            assert list(said) == sorted(set(said), key=TEXTS.index), TWICE
            assert {text for text in TEXTS if told[text] <= point} <= set(said), LOST
            assert set(said) <= {text for text in TEXTS if begun[text] < point}

        explorer = CrashExplorer(recover, **settings)
        await explorer.explore(fs, check, label="outside")
    return explorer.counts


@pytest.mark.parametrize("durable", [True, False])
async def test_no_crash_has_a_command_done_twice_or_lost(durable):
    with mock.patch.object(Life, "durable", durable):
        counts = await explored(images=8, second_images=3, second_share=0.03, kill_share=0.5)
    print(f"\n{counts}")
    assert counts.images > 100
    assert counts.kills > 5


def skip_durable(self):
    async def at_once():
        return

    return at_once()


async def forgetting(self, *, forget=True):
    """Settle the other way round: forget, then delete."""
    self._host.forget_commands([name.removeprefix("command/") for name in self._taken])
    await SETTLE(self, forget=False)


SETTLE = Inbox.settle
LOST, TWICE = "what was acknowledged is done", "each once"
STEPS = {
    "a command is deleted when it is durable": (
        mock.patch.object(Inbox, "_wait_durable", skip_durable),
        LOST,
    ),
    "an id is known until its message is deleted": (mock.patch.object(Inbox, "settle", forgetting), TWICE),
    "a command that is found again is known": (
        mock.patch.object(outside, "outcome_of", return_value=None),
        TWICE,
    ),
}


@pytest.mark.parametrize("step", STEPS)
async def test_every_step_is_needed(step):
    """The exploration sees what each step is for: without it, some crash does a command twice or loses it."""
    without, fault = STEPS[step]
    with without, pytest.raises(CrashFoundError, match=fault):
        await explored(images=4, kill_share=1.0)
