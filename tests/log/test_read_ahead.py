"""Reading ahead: in order, some at a time, bounded, and given up together."""

import asyncio

import anyio
import pytest
from log_kit import RUN, state_of

from kernelckpt.abc import StorageWrapper
from kernelckpt.errors import NotFoundError
from kernelckpt.log import read_run
from kernelckpt.log.read_ahead import ReadAhead

MIB = 1024 * 1024


class Far:
    """Answers when it is told to; knows what is under way.

    Attributes:
        asked: which were asked for, in order.
        under_way: those without an answer.
    """

    def __init__(self, *, slow_to_end=False):
        self.asked = []
        self.under_way = set()
        self._answers = {}
        self._slow_to_end = slow_to_end

    def readings(self, sizes):
        for number, size in enumerate(sizes):
            yield size, lambda number=number: self.read(number)

    async def read(self, number):
        self.asked.append(number)
        self.under_way.add(number)
        try:
            await self._answers.setdefault(number, anyio.Event()).wait()
        finally:
            with anyio.CancelScope(shield=self._slow_to_end):
                for _ in range(3 if self._slow_to_end else 0):
                    await anyio.lowlevel.checkpoint()
            self.under_way.discard(number)
        if number == 13:
            raise NotFoundError("13 is gone")
        return b"%d" % number

    async def answer(self, *numbers):
        for number in numbers:
            self._answers.setdefault(number, anyio.Event()).set()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()


async def test_some_are_under_way_while_one_is_waited_for_and_all_come_in_order():
    far, found = Far(), []

    async def follow():
        async with ReadAhead(far.readings([100] * 40)) as ahead:
            for _ in range(12):
                found.append(await ahead.next())
            await far.answer()
            assert far.under_way == set(range(16, 27))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await far.answer()
        assert far.asked == list(range(16))
        await far.answer(*range(1, 16))
        assert (found, far.under_way) == ([], {0}), "the first is waited for"
        await far.answer(0)
    assert found == [b"%d" % number for number in range(12)]
    assert far.under_way == set(), "what nobody asks for any more is given up"


async def test_large_ones_are_not_held_beside_many_others():
    far = Far()
    async with ReadAhead(far.readings([3 * MIB, 4 * MIB, 2 * MIB, 20 * MIB, 1])) as ahead:
        await far.answer(0, 1, 2, 3, 4)
        for number, asked in enumerate(([0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4])):
            assert await ahead.next() == b"%d" % number
            await far.answer()
            assert far.asked == asked, "20 MiB alone"


async def test_an_error_comes_in_its_place():
    far = Far()
    with pytest.raises(NotFoundError, match="13 is gone"):
        async with ReadAhead(far.readings([1] * 15)) as ahead:
            await far.answer(*range(15))
            for number in range(13):
                assert await ahead.next() == b"%d" % number
            await ahead.next()


async def test_who_is_cancelled_goes_on_only_once_nothing_is_under_way():
    far = Far(slow_to_end=True)
    with anyio.CancelScope() as scope:
        async with ReadAhead(far.readings([1] * 15)) as ahead:
            asyncio.get_running_loop().call_later(0, scope.cancel)
            await ahead.next()
    assert (len(far.asked), far.under_way) == (15, set()), "the storage may be closed from here on"


async def test_what_raises_when_it_is_called_does_so_in_its_place():
    def gone():
        raise NotFoundError("gone")

    far, found = Far(), []
    with pytest.raises(NotFoundError, match="gone"):
        async with ReadAhead([*far.readings([1, 1]), (1, gone)]) as ahead:
            await far.answer(0, 1)
            for _ in range(3):
                found.append(await ahead.next())
    assert found == [b"0", b"1"]


async def test_nothing_to_read_is_nothing_to_wait_for():
    async with ReadAhead([]):
        pass


class Counting(StorageWrapper):
    """Each read lets others begin first; knows the most that were under way at a time."""

    def __init__(self, storage):
        super().__init__(storage)
        self.under_way = self.most = 0

    async def pass_on(self, call):
        if call.method != "read":
            return await super().pass_on(call)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            return await super().pass_on(call)
        finally:
            self.under_way -= 1


async def test_deltas_are_read_some_at_a_time(client, storage):
    for number in range(40):
        client.put("a", b"%d" % number)
        client.say("a", b"%d" % number)
        await client.log.flush("turn")
    far = Counting(storage)
    assert state_of(await read_run(far, RUN)) == client.state()
    assert far.most == 16


async def test_what_a_base_refers_to_is_read_some_at_a_time_too(client, storage):
    for number in range(40):
        client.say("a", b"%d" % number)
        await client.log.flush("turn")
    await client.log.write_base(client.scan())
    far = Counting(storage)
    assert state_of(await read_run(far, RUN)) == client.state()
    assert far.most == 16


async def test_large_pieces_are_read_two_at_a_time(client, storage):
    for _ in range(6):
        client.say("a", bytes(MIB))
        await client.log.flush("turn")
    await client.log.write_base(client.scan())
    far = Counting(storage)
    assert state_of(await read_run(far, RUN)) == client.state()
    assert far.most == 2
