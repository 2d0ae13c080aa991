"""A file system in memory that can be crashed at any operation, into any state POSIX lets a crash leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernelckpt.testing.sim_calls import SimCalls
from kernelckpt.testing.sim_crash import crash_images
from kernelckpt.testing.sim_disk import SimDisk, SimImage, SimOp, image_of

_EMPTY = SimImage()


class SimFileSystem(SimCalls):
    """Files, folders, links, renames and locks in memory; `FileStorage` takes it as `ops`.

    It begins as an empty root folder. Whatever changes it is noted in `log`, and a crash can be looked at
    after any operation: a point is how many of them were done. Calls raise the `OSError` that Linux would.
    Folders are only renamed within the folder they are in. One thread at a time may call it.

    Attributes:
        log: every operation that changed something or synced it, in order.
        origin: what was there before the log.
        starts: how often the machine was started, this time included, and its processes after a kill.
    """

    def __init__(self, origin: SimImage = _EMPTY, log: Sequence[SimOp] = ()) -> None:
        """An empty file system, or what an image and operations after it make of one."""
        super().__init__(origin, log)
        self.starts = origin.starts + 1
        self.origin = origin
        self._past = SimDisk(origin)

    @classmethod
    def from_image(cls, image: SimImage) -> SimFileSystem:
        """Start the machine again after a crash that left this image: all is durable, no lock is held."""
        return cls(image)

    def killed(self, point: int) -> SimFileSystem:
        """What is found after every process was killed at this point, while the machine went on.

        Every operation has been done and no lock is held; what was not synced still is not. Its log begins
        with those operations, so points mean the same in both.
        """
        after = type(self)(self.origin, self.log[:point])
        after.starts = self.starts + 1
        return after

    @property
    def now(self) -> SimImage:
        """All files and folders as they are read now, synced or not."""
        return image_of(self._disk.now, self.starts)

    @property
    def point(self) -> int:
        """How many operations have been done."""
        return len(self.log)

    def images(
        self, point: int, limit: int = 64, *, sectors: Sequence[int] = (512,), seed: int = 0
    ) -> Iterator[SimImage]:
        """What a power loss after the first `point` operations may leave on the medium.

        The model is what POSIX promises, which is less than usual file systems do:

        - A write changes nothing durable before `fsync` or `fdatasync` of that file; these make its bytes
          and its size durable, not its name.
        - After a sync that failed (`fail_sync`), each write it was for may be on the medium or not, and no
          later sync changes that; what is written later is synced as usual.
        - A name made, moved or removed changes nothing durable before `fsync_folder` of its folder. The new
          name of a file says nothing about its bytes, and a folder's name nothing about the names in it.
        - Without a sync, every operation may reach the medium or not, whatever was done before or after it;
          a rename does so as a whole.
        - An unsynced write may reach it in part: up to its first or last but one byte, its middle or any
          border of a sector; one sector only, or all but one. Behind the part, the file may end, keep what
          it held, or have grown to its new size with zeros or noise there.

        Of one file or folder with up to four unsynced operations every subset is taken; with more, every
        prefix, each one alone and all but each one. Writes are torn one at a time, after all earlier ones.
        These states are combined over all files and folders: all combinations if they are no more than
        `limit`. Otherwise first nothing unsynced, then everything, then these two with one file or folder in
        another state in an order shuffled by `seed` and the point, then combinations chosen in the same way.

        Args:
            point: how many operations were done before it.
            limit: at most so many images, at least 2.
            sectors: how many bytes the medium may write at once; writes are torn at the borders of each.
            seed: another seed chooses other combinations; equal arguments give equal images.
        """
        disk = self._disk_at(point)
        yield from crash_images(disk, limit, sectors=sectors, seed=f"{seed} {point}", starts=self.starts)

    def _disk_at(self, point: int) -> SimDisk:
        """The disk after so many operations; cheap when points are asked for in order."""
        if self._past.changes > point:
            self._past = SimDisk(self.origin)
        for op in self.log[self._past.changes : point]:
            self._past.apply(op)
        return self._past
