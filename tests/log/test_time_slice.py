"""A share of the event loop, by a clock that only work moves."""

import pytest

from kernelckpt.log.options import LogStats
from kernelckpt.log.time_slice import TimeSlice

SLICE = 0.0005


class Loop:
    """An event loop: `others` says how long everybody else holds it when it is given away."""

    def __init__(self, others):
        self.now = self.worked = 0.0
        self.others = others
        self.slept = 0.0
        self.pause = 0.0

    async def checkpoint(self):
        held = self.others(self.now)
        self.worked += held
        self.now += held + self.pause

    async def sleep(self, seconds):
        self.slept += seconds
        due = self.now + seconds
        while self.now < due:
            await self.checkpoint()
            self.now = max(self.now, min(self.now + 0.0001, due))

    async def work(self, seconds, *, longest=0.0, **settings):
        """Work for so long, in slices; returns the share of the loop that was had."""
        self.stats = LogStats()
        time_slice = TimeSlice(SLICE, self.stats, **settings)
        time_slice.begin_work(longest)
        began, done = self.now, 0.0
        while done < seconds:
            self.now += 0.0001
            self.worked += 0.0001
            done += 0.0001
            if time_slice.over:
                await time_slice.rest()
        return done / (self.now - began)


@pytest.fixture
def loop_of(monkeypatch):
    def make(others):
        loop = Loop(others)
        monkeypatch.setattr("kernelckpt.log.time_slice.perf_counter", lambda: loop.now)
        monkeypatch.setattr("kernelckpt.log.time_slice.thread_time", lambda: loop.worked)
        monkeypatch.setattr("kernelckpt.log.time_slice.checkpoint", loop.checkpoint)
        monkeypatch.setattr("kernelckpt.log.time_slice.sleep", loop.sleep)
        return loop

    return make


@pytest.mark.parametrize("held", [0.0003, 0.001, 0.002])
async def test_who_rests_gets_its_share_while_others_want_the_loop(loop_of, held):
    loop = loop_of(lambda now: held)
    assert 0.17 < await loop.work(1.0, rest=4.0) < 0.23


async def test_who_rests_goes_on_at_once_when_nobody_wants_the_loop(loop_of):
    loop = loop_of(lambda now: 0.00001)
    assert await loop.work(1.0, rest=4.0) > 0.95
    assert not loop.slept


async def test_a_machine_that_is_busy_with_something_else_does_not_want_the_loop(loop_of):
    loop = loop_of(lambda now: 0.00001)
    loop.pause = 0.001
    await loop.work(1.0, rest=4.0)
    assert not loop.slept


async def test_others_that_wait_for_the_disk_still_want_the_loop(loop_of):
    """Busy for 5 ms in 25: what they wait for is done by threads, which the work would hold up."""
    loop = loop_of(lambda now: 0.005 if now % 0.025 < 0.005 else 0.0)
    assert 0.17 < await loop.work(1.0, rest=4.0) < 0.3


async def test_once_others_are_done_it_is_not_rested_for_them(loop_of):
    loop = loop_of(lambda now: 0.001 if now < 0.1 else 0.0)
    assert await loop.work(1.0, rest=4.0) > 0.8


async def test_a_slice_is_had_in_each_pass_however_long_others_hold_the_loop(loop_of):
    loop = loop_of(lambda now: 0.1)
    assert await loop.work(0.1, rest=4.0) > 0.9 * SLICE / (SLICE + 0.1)
    assert not loop.slept


async def test_what_others_held_at_one_go_is_made_up_for(loop_of):
    """Busy for 10 ms in 25, at one go: twice the fifth that is left to them."""
    loop = loop_of(lambda now: 0.010 if now % 0.025 < 0.001 else 0.0)
    assert 0.17 < await loop.work(1.0, rest=4.0) < 0.3


async def test_without_a_rest_it_only_yields(loop_of):
    loop = loop_of(lambda now: 0.0005)
    assert 0.45 < await loop.work(0.1) < 0.6
    assert not loop.slept


@pytest.mark.parametrize(
    ("held", "longest", "stretch"),
    [(0.032, 0.01, 0.01), (0.008, 0.01, 0.004), (0.0004, 0.01, SLICE), (0.032, 0.0, SLICE)],
)
async def test_slices_grow_with_those_of_others_up_to_a_limit(loop_of, held, longest, stretch):
    loop = loop_of(lambda now: held)
    await loop.work(0.1, longest=longest)
    assert stretch - 1e-9 < loop.stats.longest_slice_seconds < stretch + 0.00011


async def test_slices_are_short_again_once_others_are_quiet(loop_of):
    loop = loop_of(lambda now: 0.032 if now < 0.1 else 0.0)
    time_slice = TimeSlice(SLICE, LogStats())
    time_slice.begin_work(longest=0.01)
    while loop.now < 0.2:
        loop.now += 0.0001
        if time_slice.over:
            await time_slice.rest()
    began = loop.now
    while not time_slice.over:
        loop.now += 0.0001
    assert loop.now - began < SLICE + 0.0002


async def test_the_next_work_begins_as_the_last_one_went_on(loop_of):
    loop = loop_of(lambda now: 0.032)
    time_slice = TimeSlice(SLICE, LogStats())
    await time_slice.rest()
    for longest, stretch in ((0.01, 0.01), (0.1, 0.016), (0.0, SLICE)):
        time_slice.begin_work(longest)
        began = loop.now
        while not time_slice.over:
            loop.now += 0.0001
        assert stretch - 1e-9 < loop.now - began < stretch + 0.0002
