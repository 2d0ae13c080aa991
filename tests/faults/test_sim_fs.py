"""The simulated file system: it answers as Linux does, and its crashes lose what POSIX lets them lose."""

import errno

import pytest

from kernelckpt.storage import FileStorage
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import FaultyFileOps, SimFileSystem, SimImage, StorageConformance


class TestFileStorageOnIt(StorageConformance):
    """Everything a storage must do, done on the simulated file system, which keeps every write."""

    many_entries = 2_000
    many_runs = 100

    @pytest.fixture
    def storage_factory(self):
        fs = SimFileSystem()

        async def open_client():
            return FileStorage("/machine/state", ops=fs)

        return open_client


@pytest.fixture(params=["real", "simulated"])
def place(request, tmp_path):
    """A file system and an empty folder in it."""
    if request.param == "real":
        return FileOps(), str(tmp_path)
    fs = SimFileSystem()
    fs.mkdir("/home")
    return fs, "/home"


def failure(call, *arguments, **options):
    with pytest.raises(OSError) as caught:
        call(*arguments, **options)
    return errno.errorcode[caught.value.errno]


def put(ops, path, data):
    fd = ops.create(path)
    ops.pwritev(fd, [data], 0)
    return fd


def test_files_read_back_as_they_were_written(place):
    ops, at = place
    fd = put(ops, f"{at}/a", b"hello")
    assert ops.pwritev(fd, [b"wo", memoryview(b"rld")], 7) == 5
    assert ops.pwritev(fd, [b"J"], 0) == 1
    assert ops.pread(fd, 100, 0) == b"Jello\0\0world"
    assert ops.pread(fd, 3, 7) == b"wor"
    assert ops.pread(fd, 3, 12) == b""
    ops.close(fd)
    fd = ops.open(f"{at}/a")
    assert ops.fstat(fd) == ops.stat(f"{at}/a")
    assert (ops.fstat(fd).kind, ops.fstat(fd).size) == ("file", 12)
    assert failure(ops.pwritev, fd, [b"x"], 0) == "EBADF"
    ops.close(fd)
    assert failure(ops.pread, fd, 1, 0) == "EBADF"


def test_names_come_and_go(place):
    ops, at = place
    fd = put(ops, f"{at}/a", b"one")
    ops.link(f"{at}/a", f"{at}/b")
    ops.unlink(f"{at}/a")
    assert ops.listdir(at) == ["b"]
    assert ops.stat(f"{at}/b").inode == ops.fstat(fd).inode
    ops.close(put(ops, f"{at}/c", b"two"))
    ops.rename(f"{at}/b", f"{at}/c")
    assert ops.listdir(at) == ["c"]
    assert ops.stat(f"{at}/c").inode == ops.fstat(fd).inode
    ops.unlink(f"{at}/c")
    assert ops.pread(fd, 9, 0) == b"one"
    ops.close(fd)
    ops.mkdir(f"{at}/d")
    ops.mkdir(f"{at}/d/e")
    ops.rename(f"{at}/d", f"{at}/f")
    assert (ops.listdir(at), ops.listdir(f"{at}/f")) == (["f"], ["e"])
    assert ops.stat(f"{at}/f").kind == "folder"
    ops.rmdir(f"{at}/f/e")
    ops.rmdir(f"{at}/f")
    assert ops.listdir(at) == []


def test_what_cannot_be_done_is_refused_as_linux_refuses_it(place):
    ops, at = place
    ops.close(put(ops, f"{at}/file", b"x"))
    ops.mkdir(f"{at}/folder")
    ops.close(put(ops, f"{at}/folder/inner", b"x"))
    ops.mkdir(f"{at}/other")
    found = [
        failure(ops.create, f"{at}/file"),
        failure(ops.mkdir, f"{at}/folder"),
        failure(ops.link, f"{at}/file", f"{at}/folder"),
        failure(ops.open, f"{at}/none"),
        failure(ops.stat, f"{at}/none/at/all"),
        failure(ops.create, f"{at}/file/under"),
        failure(ops.listdir, f"{at}/file"),
        failure(ops.fsync_folder, f"{at}/file"),
        failure(ops.rmdir, f"{at}/folder"),
        failure(ops.rmdir, f"{at}/file"),
        failure(ops.unlink, f"{at}/folder"),
        failure(ops.open, f"{at}/folder", write=True),
        failure(ops.rename, f"{at}/none", f"{at}/new"),
        failure(ops.rename, f"{at}/other", f"{at}/folder"),
        failure(ops.link, f"{at}/folder", f"{at}/second"),
    ]
    assert found[:3] == ["EEXIST"] * 3
    assert found[3:8] == ["ENOENT", "ENOENT", "ENOTDIR", "ENOTDIR", "ENOTDIR"]
    assert found[8:] == ["ENOTEMPTY", "ENOTDIR", "EISDIR", "EISDIR", "ENOENT", "ENOTEMPTY", "EPERM"]


def test_locks_exclude_and_end_with_their_holder(place):
    ops, at = place
    first = put(ops, f"{at}/a", b"")
    second, third = ops.open(f"{at}/a"), ops.open(f"{at}/a")
    assert ops.lock(first)
    assert not ops.lock(second)
    assert not ops.lock(second, shared=True)
    ops.close(first)
    assert ops.lock(second, shared=True)
    assert ops.lock(third, shared=True)
    assert not ops.lock(third)
    ops.unlock(second)
    ops.close(second)
    assert ops.lock(third)
    ops.close(third)


def images(fs, path="/a", **options):
    """What a crash now may leave of a file: its bytes, or None when it has no name."""
    return [image.files.get(path) for image in fs.images(fs.point, 500, **options)]


def test_nothing_unsynced_is_sure_to_stay_or_to_go():
    fs = SimFileSystem()
    fd = put(fs, "/a", b"abcd")
    assert set(images(fs)) >= {None, b"", b"abcd", b"a", b"ab", b"abc", bytes(4), b"ab\0\0"}
    fs.fdatasync(fd)
    assert images(fs) == [None, b"abcd"]
    fs.fsync_folder("/")
    assert images(fs) == [b"abcd"]


def test_a_name_may_be_durable_without_its_bytes_and_bytes_without_their_name():
    fs = SimFileSystem()
    put(fs, "/a", b"abcd")
    fs.fsync_folder("/")
    found = images(fs)
    assert None not in found
    assert {b"", b"abcd"} <= set(found)


def test_a_grown_file_may_hold_noise_that_was_never_written():
    fs = SimFileSystem()
    put(fs, "/a", b"abcdefgh")
    found = [data for data in images(fs) if data and len(data) == 8]
    noise = [data for data in found if not set(data) <= set(b"abcdefgh\0")]
    assert noise
    assert [data for data in noise if data.startswith(b"abcd")]


def test_writes_are_torn_at_the_borders_of_sectors():
    fs = SimFileSystem()
    fd = put(fs, "/a", b"-" * 12)
    fs.fsync(fd)
    fs.fsync_folder("/")
    fs.pwritev(fd, [b"abcdefgh"], 2)
    found = images(fs, sectors=[4])
    assert {len(data) for data in found} == {12}
    for torn in (b"--ab--------", b"--abcdef----", b"----cdef----", b"--ab----gh--", b"--a---------"):
        assert torn in found
    assert b"--------efgh" not in found


def test_later_operations_may_be_durable_without_earlier_ones():
    fs = SimFileSystem()
    fd = put(fs, "/a", b"")
    fs.fsync_folder("/")
    fs.pwritev(fd, [b"1"], 0)
    fs.pwritev(fd, [b"2"], 1)
    assert {b"", b"1", b"12", b"\0" + b"2"} <= set(images(fs))
    fs.rename("/a", "/b")
    fs.close(put(fs, "/c", b""))
    names = {tuple(image.files) for image in fs.images(fs.point, 500)}
    assert names == {("/a",), ("/b",), ("/a", "/c"), ("/b", "/c")}


def test_a_folder_that_is_not_durable_takes_what_is_in_it_along():
    fs = SimFileSystem()
    fs.mkdir("/d")
    fd = put(fs, "/d/a", b"x")
    fs.fsync(fd)
    fs.fsync_folder("/d")
    assert images(fs, "/d/a") == [None, b"x"]
    fs.fsync_folder("/")
    assert images(fs, "/d/a") == [b"x"]
    assert next(fs.images(fs.point)).folders == ["/d"]


def test_an_earlier_point_knows_nothing_of_later_operations():
    fs = SimFileSystem()
    fd = put(fs, "/a", b"x")
    fs.fsync(fd)
    fs.fsync_folder("/")
    points = [{image.files.get("/a") for image in fs.images(point)} for point in (4, 3, 1, 0, 4)]
    assert points == [{b"x"}, {None, b"x"}, {None, b""}, {None}, {b"x"}]


def busy():
    """Two files and a folder with more unsynced operations than all combinations are tried of."""
    fs = SimFileSystem()
    for name in ("/a", "/b"):
        fd = fs.create(name)
        for at in range(6):
            fs.pwritev(fd, [b"%d" % at * 40], at * 40)
    return fs


def test_images_are_distinct_bounded_and_the_same_each_time():
    fs = busy()
    keys = [image.key for image in fs.images(fs.point, 50)]
    assert len(keys) == len(set(keys)) == 50
    assert keys == [image.key for image in busy().images(fs.point, 50)]
    assert keys != [image.key for image in fs.images(fs.point, 50, seed=1)]
    oldest, newest = list(fs.images(fs.point, 2))
    assert oldest.files == {}
    assert newest.files == {name: fs.pread(fd, 999, 0) for fd, name in enumerate(("/a", "/b"), 3)}


def test_a_machine_starts_from_an_image_without_locks_and_with_all_of_it_durable():
    fs = SimFileSystem()
    fs.mkdir("/d")
    fd = put(fs, "/d/a", b"abcd")
    fs.link("/d/a", "/d/b")
    assert fs.lock(fd)
    *_, newest = fs.images(fs.point, 2)
    again = SimFileSystem.from_image(newest)
    assert sorted(again.listdir("/d")) == ["a", "b"]
    assert again.stat("/d/a") == again.stat("/d/b")
    assert again.lock(again.open("/d/a"))
    assert [image.key for image in again.images(again.point)] == [newest.key]
    assert SimFileSystem.from_image(SimImage()).listdir("/") == []


def test_killing_the_processes_makes_nothing_durable():
    fs = SimFileSystem()
    fd = put(fs, "/a", b"abcd")
    assert fs.lock(fd)
    point = fs.point
    fs.fsync(fd)
    after = fs.killed(point)
    found = after.open("/a")
    assert after.lock(found)
    assert after.pread(found, 9, 0) == b"abcd"
    assert (after.point, b"" in images(after)) == (point, True)
    after.fsync(found)
    assert b"" not in images(after)


def test_faults_can_be_put_before_it():
    fs = SimFileSystem()
    faulty = FaultyFileOps(fs)
    fd = put(faulty, "/a", b"abcd")
    faulty.fail("fsync")
    assert failure(faulty.fsync, fd) == "EIO"
    assert b"" in images(fs)


def test_what_a_failed_sync_was_for_no_later_sync_makes_durable():
    fs = SimFileSystem()
    fd = put(fs, "/a", b"----")
    fs.fsync(fd)
    fs.fsync_folder("/")
    fs.pwritev(fd, [b"lost"], 0)
    fs.fail_sync(fd)
    fs.pwritev(fd, [b"kept"], 4)
    fs.fsync(fd)
    assert fs.pread(fd, 9, 0) == b"lostkept"
    found = images(fs)
    assert {b"----kept", b"lostkept", b"lo--kept"} <= set(found)
    assert all(data.endswith(b"kept") for data in found)
    fs.pwritev(fd, [b"anew"], 0)
    assert b"anewkept" in images(fs)
    assert b"lostkept" in images(fs)
    fs.fsync(fd)
    assert images(fs) == [b"anewkept"]
    assert images(fs.killed(fs.point)) == [b"anewkept"]


def test_a_failed_sync_of_a_real_or_a_simulated_file_raises_and_only_the_simulated_one_forgets(place):
    ops, at = place
    faulty = FaultyFileOps(ops)
    fd = put(faulty, f"{at}/a", b"abcd")
    faulty.fail("fdatasync")
    assert failure(faulty.fdatasync, fd) == "EIO"
    faulty.fdatasync(fd)
    faulty.close(fd)
    if isinstance(ops, SimFileSystem):
        ops.fsync_folder(at)
        ops.fsync_folder("/")
        assert {b"", b"abcd"} <= set(images(ops, f"{at}/a"))


def test_faults_end_when_they_are_healed():
    fs = SimFileSystem()
    faulty = FaultyFileOps(fs)
    faulty.fail("create", errno.ENOSPC, times=99)
    assert [failure(faulty.create, "/a"), failure(faulty.create, "/a")] == ["ENOSPC"] * 2
    faulty.heal()
    faulty.create("/a")
