"""What a folder lies on: network file systems are refused, what is lost with a machine is told."""

import pytest

from kernelckpt import CheckpointHook, FileStorage, Scheduler, open_storage
from kernelckpt.errors import StorageUnavailableError, StorageUrlError
from kernelckpt.storage.file.medium import mounted_type
from kernelckpt.storage.file.ops import FileOps

MOUNTS = r"""21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /proc rw - proc proc rw
30 21 0:30 / /mnt/with\040space rw shared:1 master:2 - nfs4 server:/export rw,vers=4.2
31 21 0:31 / /mnt/data rw - xfs /dev/sdb rw
32 31 0:32 / /mnt/data rw - tmpfs tmpfs rw,size=1g
33 21 0:33 /sub /mnt/database rw - fuse.sshfs me@host:/ rw
34 21 0:34 / /var/lib/box rw - overlay overlay rw,lowerdir=/a - b
"""


class OpsOn(FileOps):
    """Real files that are said to lie on some file system."""

    def __init__(self, kind):
        self.kind = kind

    def file_system(self, path):
        return self.kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/me/state", "ext4"),
        ("/proc/self", "proc"),
        ("/mnt/with space/state", "nfs4"),
        ("/mnt/with space", "nfs4"),
        ("/mnt/data/state", "tmpfs"),
        ("/mnt/database", "fuse.sshfs"),
        ("/mnt/data2", "ext4"),
        ("/var/lib/box/state", "overlay"),
    ],
)
def test_the_mount_that_holds_a_path(path, kind):
    assert mounted_type(MOUNTS, path) == kind


@pytest.mark.parametrize("told", ["", "nonsense\n\n - \n1 2 3"])
def test_what_is_not_told_is_not_known(told):
    assert mounted_type(told, "/home") == ""


def test_the_real_system_says_something_of_folders_that_are_not_there_yet(tmp_path):
    here = FileOps().file_system(str(tmp_path))
    assert here
    assert FileOps().file_system(str(tmp_path / "not" / "there")) == here
    (tmp_path / "link").symlink_to("/proc")
    assert FileOps().file_system(str(tmp_path / "link" / "self")) == "proc"


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse", "fuse.sshfs", "ceph"]
)
async def test_network_file_systems_are_refused_unless_allowed(tmp_path, kind):
    async with FileStorage(tmp_path / "state", ops=OpsOn(kind)) as storage:
        for call in (storage.check, lambda: storage.acquire("run", "test")):
            with pytest.raises(StorageUnavailableError, match=f"lies on {kind}") as caught:
                await call()
            assert "allow_network_fs=1" in caught.value.hint
            assert str(tmp_path) in caught.value.message
    assert not (tmp_path / "state").exists()
    async with FileStorage(tmp_path / "state", allow_network_fs=True, ops=OpsOn(kind)) as storage:
        await storage.check()
        assert (await storage.acquire("run", "test")).epoch == 1
        assert storage.notes == ()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", ""])
async def test_others_are_used(tmp_path, kind):
    async with FileStorage(tmp_path / "state", ops=OpsOn(kind)) as storage:
        await storage.check()
        assert (await storage.acquire("run", "test")).epoch == 1


@pytest.mark.parametrize(("kind", "lost"), [("tmpfs", "machine stops"), ("overlay", "container is removed")])
async def test_what_is_lost_with_a_machine_is_told_to_those_who_rely_on_it(tmp_path, kind, lost):
    for durable in (True, False):
        async with FileStorage(tmp_path / "state", ops=OpsOn(kind)) as storage:
            hook = CheckpointHook(storage, durable=durable)
            assert hook.notes == ()
            async with Scheduler({}, run_id="run", hooks=[hook]):
                (note,) = storage.notes
                assert lost in note
                assert str(tmp_path) in note
                assert hook.notes == ((note,) if durable else ())


async def test_a_url_may_allow_a_network_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(FileOps, "file_system", lambda ops, path: "nfs4")
    for text in (f"file:{tmp_path}/state", f"file:{tmp_path}/state?allow_network_fs=0"):
        with pytest.raises(StorageUnavailableError):
            await open_storage(text)
    async with open_storage(f"file:{tmp_path}/state?allow_network_fs=1") as storage:
        assert storage.path == f"{tmp_path}/state"
    with pytest.raises(StorageUrlError, match="allow_network_fs=1"):
        await open_storage(f"file:{tmp_path}/state?allow_network_fs=yes")
