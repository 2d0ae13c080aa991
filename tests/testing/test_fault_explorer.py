"""The fault explorer: each call fails in each way, and what a program makes of it is crashed."""

import pytest

from kernelckpt.testing import CrashExplorer, CrashFoundError, Fault, FaultExplorer, second_sync


class Journal:
    """A writer of numbers, a file each; careful, or wrong in one way."""

    def __init__(self, wrong=""):
        self.wrong = wrong
        self.acknowledged = []

    def save(self, ops, name, number):
        fd = ops.create(name)
        try:
            data = b"number %d." % number
            taken = ops.pwritev(fd, [data], 0)
            while taken < len(data) and self.wrong != "short writes":
                taken += ops.pwritev(fd, [data[taken:]], taken)
            self.sync(ops, fd)
        finally:
            ops.close(fd)
        ops.fsync_folder("/")

    def sync(self, ops, fd):
        try:
            ops.fsync(fd)
        except OSError:
            if self.wrong != "syncs again":
                raise
            ops.fsync(fd)

    async def run(self, fs, ops):
        """Save three numbers, each in a new file after a failure."""
        self.acknowledged = []
        for number in range(3):
            for attempt in ("a", "b"):
                try:
                    self.save(ops, f"/{number}{attempt}", number)
                except OSError:
                    ops.heal()
                    if self.wrong == "gives up":
                        raise
                else:
                    self.acknowledged.append((fs.point, number))
                    break
        return fs, self.check

    async def load(self, fs):
        found = set()
        for name in fs.listdir("/"):
            fd = fs.open(f"/{name}")
            if fs.pread(fd, 99, 0) == b"number %d." % int(name[0]):
                found.add(int(name[0]))
            fs.close(fd)
        return found

    def check(self, found, point):
        missing = [number for at, number in self.acknowledged if at <= point and number not in found]
        assert not missing, missing

    def explorer(self, **options):
        return FaultExplorer(CrashExplorer(self.load, images=12), **options)


@pytest.mark.parametrize("lasting", [False, True])
async def test_a_writer_that_copes_passes_every_fault(lasting):
    journal = Journal()
    explorer = journal.explorer(errors=("EIO", "ENOSPC"))
    await explorer.explore(journal.run, lasting=lasting)
    assert explorer.faults == 3 * (5 * 2 + 1)  # create, write (also short), sync, close, sync of the folder
    assert explorer.explorer.counts.images > 20


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ("short writes", "pwritev:1:short"),
        ("syncs again", "fsync:1:EIO"),
        ("gives up", "create:1:EIO"),
    ],
)
async def test_a_writer_that_does_not_is_found_and_found_again(wrong, fault):
    journal = Journal(wrong)
    with pytest.raises(CrashFoundError) as caught:
        await journal.explorer().explore(journal.run, label="numbers")
    error = caught.value
    assert error.label == f"numbers, fault {fault}"
    with pytest.raises(CrashFoundError) as again:
        await journal.explorer().replay(journal.run, Fault.parse(fault), error.trail, label="numbers")
    assert (again.value.label, again.value.trail) == (error.label, error.trail)


async def test_a_fault_is_named_by_text():
    for text in ("fsync:3:EIO", "pwritev:1:short+"):
        assert str(Fault.parse(text)) == text


async def test_a_sync_after_a_failed_one_is_seen_in_the_log():
    journal = Journal("syncs again")
    seen = []

    async def run(fs, ops):
        result = await journal.run(fs, ops)
        seen.append(second_sync(fs.log))
        return result

    with pytest.raises(CrashFoundError):
        await journal.explorer().explore(run)
    *before, again = seen
    assert set(before) == {None}
    assert (again.call, again.path) == ("fsync", "/0a")
