"""Crashes at every commit: run a scenario to its end, then go on from each state it went through."""

from kernel_kit import Recorder, kernel_of

from kernelckpt import Role
from kernelckpt.codec.record import decode_message
from kernelckpt.model.message import ToolResultPart


class World(list):
    """What was done outside the kernel; a crash undoes none of it."""


class _Watching(Recorder):
    """Keeps, with the state after each commit, what the world was like then."""

    def __init__(self, world, saved=None):
        super().__init__(saved)
        self._world = world
        self.moments = []

    def on_commit(self, kernel, commit):
        super().on_commit(kernel, commit)
        self.moments.append((self.history[-1], World(self._world)))


async def at_every_commit(settings_of, drive):
    """What a scenario comes to, run in one go and then again from the state after each of its commits.

    Args:
        settings_of: `settings_of(world)` gives the keywords of a scheduler that acts on a world.
        drive: `drive(kernel)` brings a kernel to the scenario's end, from wherever it stands, and gives
            what is to be compared.

    Returns:
        The first end with its world, the ends of the others, and all states.
    """
    world = World()
    watching = _Watching(world)
    async with kernel_of(hooks=[watching], **settings_of(world)) as kernel:
        first = (await drive(kernel), sorted(world))
    others = []
    for saved, then in watching.moments:
        async with kernel_of(hooks=[Recorder(saved)], **settings_of(then)) as kernel:
            others.append((await drive(kernel), sorted(then)))
    assert len(others) > 3
    return first, others, [saved for saved, _ in watching.moments]


async def decided(kernel, task_id="t"):
    """The result of a task, all that the kernel asks on the way approved."""
    while not kernel.tasks.get(task_id).state.is_terminal():
        await kernel.idle()
        for question in kernel.approvals():
            await kernel.approve(task_id, question.key)
    return await kernel.join(task_id)


def assert_calls_have_results(messages):
    """Every call of a history is answered right behind its message, and every answer has its call."""
    open_calls = []
    for message in messages:
        if message.role is Role.TOOL:
            for part in message.content:
                assert isinstance(part, ToolResultPart)
                assert open_calls.pop(0) == part.call_id
        else:
            assert open_calls == []
            open_calls = [call.id for call in message.tool_calls]
    assert open_calls == []


def histories(saved):
    """The histories in a saved state."""
    for (kind, _, _), items in saved.streams.items():
        if kind == "history":
            yield [decode_message(item, "history") for item in items]
