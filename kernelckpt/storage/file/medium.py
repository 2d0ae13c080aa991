"""What kind of file system a folder lies on, and whether the promises of the file storage hold there."""

from __future__ import annotations

import re

from kernelckpt.errors import StorageUnavailableError

_NETWORK = {
    "9p",
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "panfs",
    "prl_fs",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
}
_LOST_WITH = {
    "tmpfs": "is in memory, and gone when the machine stops",
    "ramfs": "is in memory, and gone when the machine stops",
    "overlay": "is a container's own layer, and gone when the container is removed",
}


def mounted_type(mountinfo: str, path: str) -> str:
    """The type of the file system that holds a path, as Linux names it; "" when that is not told.

    Args:
        mountinfo: what `/proc/self/mountinfo` says; see proc(5).
        path: absolute, without symbolic links.
    """
    found, longest = "", -1
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        point = _unescaped(fields.split(" ")[4]) if fields.count(" ") > 3 else ""
        inside = point and (path == point or path.startswith(point.rstrip("/") + "/"))
        if inside and len(point) >= longest:  # of two mounts on one point, the later one hides the other
            found, longest = rest.split(" ")[0], len(point)
    return found


def refuse_network(kind: str, path: str, scheme: str = "file") -> None:
    """Raise when a file system is served by something that need not lock and sync as a local disk does.

    Args:
        kind: its type, as Linux names it.
        path: what lies on it.
        scheme: that of the storage's URL, for the hint.

    Raises:
        StorageUnavailableError: it is a network file system, or in user space.
    """
    if kind in _NETWORK or kind.startswith("fuse"):
        raise StorageUnavailableError(
            f"{path}: lies on {kind}, which need not lock and sync as a local disk does",
            hint=f"choose a folder on a local disk, or accept that: {scheme}:PATH?allow_network_fs=1",
        )


def medium_notes(kind: str, path: str) -> tuple[str, ...]:
    """What somebody should know who relies on what is kept there."""
    if kind not in _LOST_WITH:
        return ()
    return (f"{path}: what lies on {kind} {_LOST_WITH[kind]}",)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
