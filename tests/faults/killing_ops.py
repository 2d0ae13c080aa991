"""The real file system below a folder, for a process that is to die at one of its calls."""

from __future__ import annotations

import os
import signal

from kernelckpt.storage.file.ops import FileOps

CHANGES = {
    "create",
    "pwritev",
    "fdatasync",
    "fsync",
    "fsync_folder",
    "lock",
    "unlock",
    "link",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
}
"""The calls that are counted: between two of them, whatever is read, a kill leaves the same files."""


class KillingFileOps:
    """Makes every call below `root`; `FileStorage` takes it as `ops`.

    Attributes:
        calls: the counted calls so far.
    """

    def __init__(self, root, *, last=0, half=False):
        """Live on, or die by SIGKILL at counted call number `last`.

        Args:
            root: what stands for "/" in every path.
            last: 1 for the first; 0 for none.
            half: let a write that is the last call take half of its bytes before.
        """
        self.calls = []
        self._ops = FileOps()
        self._root = root
        self._last = last
        self._half = half

    @property
    def point(self):
        return len(self.calls)

    def __getattr__(self, call):
        target = getattr(self._ops, call)

        def run(*arguments, **options):
            real = [self._root + value if isinstance(value, str) else value for value in arguments]
            if call in CHANGES:
                self.calls.append(call)
                if self.point == self._last:
                    self._die(call, real)
            return target(*real, **options)

        return run

    def _die(self, call, arguments):
        if self._half and call == "pwritev":
            fd, pieces, offset = arguments
            data = b"".join(pieces)
            os.pwrite(fd, data[: len(data) // 2], offset)
        os.kill(os.getpid(), signal.SIGKILL)
