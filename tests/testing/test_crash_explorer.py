"""The crash explorer: it passes what is right, finds what is wrong, and comes to each finding again."""

import pytest

from kernelckpt.testing import CrashExplorer, CrashFoundError, SimFileSystem


class Value:
    """A writer that keeps one value in a file, as carefully as it is told to."""

    def __init__(self, fs, *, sync_file=True, sync_folder=True, sync_found=True, remove_first=False):
        self.fs = fs
        self.sync_file, self.sync_folder, self.sync_found = sync_file, sync_folder, sync_found
        self.remove_first = remove_first

    def save(self, value):
        temporary = f"/new {self.fs.starts} {value.decode()}"
        fd = self.fs.create(temporary)
        self.fs.pwritev(fd, [value], 0)
        if self.sync_file:
            self.fs.fsync(fd)
        self.fs.close(fd)
        if self.remove_first and "value" in self.fs.listdir("/"):
            self.fs.unlink("/value")
            self.fs.fsync_folder("/")
        self.fs.rename(temporary, "/value")
        if self.sync_folder:
            self.fs.fsync_folder("/")

    def load(self):
        if "value" not in self.fs.listdir("/"):
            return None
        fd = self.fs.open("/value", write=True)
        data = self.fs.pread(fd, 99, 0)
        if self.sync_found:
            self.fs.fsync(fd)
            self.fs.fsync_folder("/")
        self.fs.close(fd)
        return data


class Trial:
    """Two values are saved, in a writer of these settings; a third one after each recovery."""

    def __init__(self, **settings):
        self.settings = settings
        self.fs = SimFileSystem()
        self.saved = [(0, None)]
        self.begun = [(0, None)]
        for value in (b"one", b"two"):
            self.begun.append((self.fs.point, value))
            Value(self.fs, **settings).save(value)
            self.saved.append((self.fs.point, value))

    async def recover(self, fs):
        return Value(fs, **self.settings).load()

    def check(self, state, point):
        order = [None, b"one", b"two"]
        assert state in order, state
        oldest = [value for at, value in self.saved if at <= point][-1]
        newest = [value for at, value in self.begun if at <= point][-1]
        assert order.index(oldest) <= order.index(state) <= order.index(newest), f"{state} at {point}"

    async def save_again(self, fs, state):
        recovered = fs.point
        Value(fs, **self.settings).save(b"again")
        saved = fs.point

        def check(found, point):
            assert found == b"again" or (found == state and recovered <= point < saved)

        return check

    def explorer(self, **options):
        return CrashExplorer(self.recover, **options)

    async def explore(self, **options):
        explorer = self.explorer(**options)
        await explorer.explore(self.fs, self.check, label="two values")
        return explorer


def failure_of(caught):
    return caught.value.trail, str(caught.value).splitlines()[0]


async def test_a_careful_writer_passes_everything():
    trial = Trial()
    explorer = await trial.explore(go_on=trial.save_again, second_share=1.0, kill_share=1.0, generations=3)
    counts = explorer.counts
    assert counts.points > trial.fs.point + 1
    assert (await trial.explore()).counts.points == trial.fs.point + 1
    assert (counts.kills, counts.recoveries > counts.kills) == (4, True)
    assert counts.images > 20
    assert counts.second_images > 100
    assert str(counts).startswith(f"{counts.points} crash points, {counts.images} distinct images")


@pytest.mark.parametrize("step", ["sync_file", "sync_folder"])
async def test_a_step_left_out_is_found_and_found_again(step):
    trial = Trial(**{step: False})
    with pytest.raises(CrashFoundError) as caught:
        await trial.explore()
    trail, text = failure_of(caught)
    assert text.startswith(f"run 'two values', seed 0, crash {trail}: AssertionError: ")
    with pytest.raises(CrashFoundError) as again:
        await trial.explorer().replay(trial.fs, trial.check, trail, label="two values")
    assert failure_of(again) == (trail, text)
    with pytest.raises(ValueError, match="no crash 1:99 "):
        await trial.explorer().replay(trial.fs, trial.check, "1:99")


async def test_what_a_killed_process_left_must_be_synced_before_it_is_used():
    """One crash does not show it: the state that was recovered is lost by the next one."""
    trial = Trial(sync_found=False)
    await trial.explore(second_share=1.0)
    with pytest.raises(CrashFoundError) as caught:
        await trial.explore(kill_share=1.0)
    assert ":killed/" in caught.value.trail
    with pytest.raises(CrashFoundError) as again:
        await trial.explorer().replay(trial.fs, trial.check, caught.value.trail)
    assert again.value.trail == caught.value.trail


async def test_a_recovery_that_cannot_be_crashed_itself_is_found():
    """Nothing is wrong before the first crash: only what is done after it loses the value."""
    trial = Trial()

    async def recover(fs):
        found = Value(fs).load()
        if found == b"two":
            Value(fs, remove_first=True).save(b"two")
        return found

    await CrashExplorer(recover).explore(trial.fs, trial.check)
    with pytest.raises(CrashFoundError, match="None was recovered after b'two' had been"):
        await CrashExplorer(recover, second_share=1.0).explore(trial.fs, trial.check)


async def test_what_is_written_after_a_recovery_is_crashed_too():
    trial = Trial()

    async def go_on(fs, state):
        Value(fs, sync_folder=False).save(b"again")
        saved = fs.point

        def check(found, point):
            assert found == b"again" or point < saved

        return check

    await trial.explore(go_on=go_on)
    with pytest.raises(CrashFoundError) as caught:
        await trial.explore(go_on=go_on, second_share=1.0)
    assert caught.value.trail.count("/") == 1


async def test_an_error_of_a_recovery_is_a_finding_with_its_cause():
    trial = Trial()

    async def recover(fs):
        if fs.listdir("/") == ["new 1 two", "value"]:
            raise OSError("no way")
        return await trial.recover(fs)

    with pytest.raises(CrashFoundError, match="OSError: no way") as caught:
        await CrashExplorer(recover).explore(trial.fs, trial.check)
    assert isinstance(caught.value.__cause__, OSError)


async def test_only_the_points_that_are_named_are_crashed():
    trial = Trial()
    explorer = trial.explorer()
    await explorer.explore(trial.fs, trial.check, points=[trial.fs.point])
    assert (explorer.counts.points, explorer.counts.images) == (1, 1)


async def seen(trial, **options):
    """The images that an explorer recovers, by their keys."""
    keys = []

    async def recover(fs):
        keys.append(fs.origin.key)
        return await trial.recover(fs)

    explorer = CrashExplorer(recover, images=6, **options)
    await explorer.explore(trial.fs, trial.check)
    return keys


async def test_shards_share_the_images_and_equal_arguments_give_equal_ones():
    trial = Trial()
    whole = await seen(trial)
    assert await seen(trial) == whole
    assert await seen(trial, seed=1) != whole
    shards = [await seen(trial, shard=(number, 3)) for number in (1, 2, 3)]
    assert all(shards)
    assert sorted(key for shard in shards for key in shard) == sorted(whole)
    assert len(set(whole)) == len(whole)
