"""Interleavings: every order of calls is met once, and what only one order breaks is found."""

import pytest

from kernelckpt.testing import InterleavingFoundError, Interleavings, SimFileSystem


def adder(step):
    """Adds one to the number in a file, which others may do between its reading and its writing."""

    async def add(ops):
        fd = ops.open("/number", write=True)
        number = int(ops.pread(fd, 9, 0))
        ops.pwritev(fd, [b"%d" % (number + step)], 0)
        ops.close(fd)

    return add


def stage():
    fs = SimFileSystem()
    fd = fs.create("/number")
    fs.pwritev(fd, [b"1"], 0)
    fs.close(fd)
    return fs, [adder(1), adder(2)]


def number(fs):
    return int(fs.now.files["/number"])


def test_what_happens_without_interruptions_is_right():
    seen = []
    interleavings = Interleavings(stage, lambda fs: seen.append(number(fs)))
    assert interleavings.explore(0)
    assert seen == [4, 4]
    assert interleavings.runs == 2


def test_an_interruption_at_the_wrong_time_is_found_and_found_again():
    def check(fs):
        assert number(fs) == 4, number(fs)

    interleavings = Interleavings(stage, check)
    with pytest.raises(InterleavingFoundError) as caught:
        interleavings.explore(1)
    schedule = caught.value.schedule
    assert str(caught.value).startswith(f"schedule {schedule}: AssertionError: ")
    with pytest.raises(InterleavingFoundError) as again:
        Interleavings(stage, check).replay(schedule)
    assert again.value.schedule == schedule
    with pytest.raises(InterleavingFoundError):
        Interleavings(stage, check).sample(50)


def test_every_result_of_every_order_is_met():
    seen = set()
    assert Interleavings(stage, lambda fs: seen.add(number(fs))).explore(3)
    assert seen == {2, 3, 4}


def test_calls_that_nobody_notices_are_not_interrupted():
    seen = set()
    interleavings = Interleavings(
        stage, lambda fs: seen.add(number(fs)), visible=lambda call, _: call == "open"
    )
    assert interleavings.explore(3)
    assert seen == {4}
    all_calls = Interleavings(stage, number)
    assert all_calls.explore(3)
    assert interleavings.runs < all_calls.runs


def test_a_limit_says_that_not_all_were_tried():
    assert not Interleavings(stage, number).explore(3, limit=2)


def test_the_error_of_an_actor_is_a_finding():
    async def fail(ops):
        ops.stat("/none")

    def broken():
        fs, actors = stage()
        return fs, [*actors, fail]

    with pytest.raises(InterleavingFoundError, match="FileNotFoundError"):
        Interleavings(broken, number).explore(0)


def test_an_actor_that_waits_for_something_else_is_refused():
    class Never:
        def __await__(self):
            yield

    async def wait(ops):
        await Never()

    with pytest.raises(InterleavingFoundError, match="waited for something other"):
        Interleavings(lambda: (SimFileSystem(), [wait]), number).explore(0)


def test_actors_that_do_something_else_each_time_are_refused():
    stages = []

    async def nothing(ops):
        return

    def changing():
        fs, actors = stage()
        stages.append(1)
        return fs, actors if len(stages) == 1 else [nothing, nothing]

    with pytest.raises(InterleavingFoundError, match="did not do the same again"):
        Interleavings(changing, lambda fs: None).explore(1)
