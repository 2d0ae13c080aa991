"""Starting a kernel from a snapshot that lies in memory, without a storage."""

from __future__ import annotations

from typing_extensions import override

from kernelckpt.abc import Hook, KernelHost
from kernelckpt.kernel.snapshot import records_of
from kernelckpt.model.snapshot import KernelSnapshot


class RestoreFrom(Hook):
    """Lets the kernel go on from a snapshot: to move a state by hand, and for tests.

    Nothing is written anywhere, and no downtime is known. Each scheduler that is given the hook begins at the
    snapshot, so that of several only one may reach the outside world. A snapshot of the original names no
    programs: put them into its rows first.

    Entering the scheduler raises:
        RestoreError: a program, a tool or the like is missing; the error names all that is.
        DecodeError: parts of the snapshot contradict each other; the path names the place.
    """

    restores = True

    def __init__(self, snapshot: KernelSnapshot) -> None:
        """A hook that restores this snapshot."""
        self._snapshot = snapshot

    @override
    async def on_start(self, kernel: KernelHost) -> None:
        kernel.restore(records_of(self._snapshot), downtime_ms=None, notes=())
