"""Explores crashes: a recorded run is cut off at every point, recovered from images, and cut off again."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

from kernelckpt.testing.sim_disk import SimImage
from kernelckpt.testing.sim_fs import SimFileSystem

S = TypeVar("S")

Recover: TypeAlias = Callable[[SimFileSystem], Awaitable[S]]
"""Starts the writer on what a crash left, and returns what it found."""

Check: TypeAlias = Callable[[S, int], None]
"""Raises unless a crash at this point of the run may leave this state."""

GoOn: TypeAlias = Callable[[SimFileSystem, S], Awaitable[Check[S]]]
"""Lets the recovered writer write more; returns the check for crashes after its recovery."""

SYNCS = ("fdatasync", "fsync", "fsync_folder")
_KILLED = "killed"


class CrashFoundError(AssertionError):
    """Something is wrong after a crash; `CrashExplorer.replay` comes to it again.

    Attributes:
        label: the run.
        trail: the crashes one after the other, each as `point:image`, or as `point:killed` when only the
            processes ended; an image is numbered among those of its point. Empty when the run itself failed.
        seed: the explorer's.
    """

    def __init__(self, label: str, trail: str, seed: int, cause: Exception) -> None:
        """Say where it is, and what is wrong there."""
        run = f"run {label!r}, " if label else ""
        crash = f"crash {trail}" if trail else "no crash"
        super().__init__(f"{run}seed {seed}, {crash}: {type(cause).__name__}: {cause}")
        self.label = label
        self.trail = trail
        self.seed = seed


class CrashCounts(Struct):
    """How much was explored.

    Attributes:
        points: crash points of the runs.
        images: distinct images of first crashes; each was recovered.
        second_images: distinct images of later crashes; each was recovered.
        repeated: images that were seen before; what was recovered then was checked.
        recoveries: recoveries that were crashed at every point.
        kills: how many of these followed a kill, not a power loss.
    """

    points: int = 0
    images: int = 0
    second_images: int = 0
    repeated: int = 0
    recoveries: int = 0
    kills: int = 0

    def __str__(self) -> str:
        return (
            f"{self.points} crash points, {self.images} distinct images; {self.recoveries} recoveries "
            f"crashed, {self.kills} of them after a kill, {self.second_images} distinct images of those; "
            f"{self.repeated} images repeated"
        )


class _Run(Struct, Generic[S], frozen=True):
    """What was written since a start, and the crashes before that."""

    fs: SimFileSystem
    check: Check[S]
    label: str
    trail: tuple[str, ...] = ()


class CrashExplorer(Generic[S]):
    """Crashes what was written through `SimFileSystem`, and fails at the first crash that breaks it.

        fs = SimFileSystem()
        save(fs, "one")  # the writer to be tested
        saved = fs.point

        async def recover(fs):
            return load(fs)

        def check(state, point):
            assert state == "one" or (state is None and point < saved)

        await CrashExplorer(recover).explore(fs, check)

    `recover` must make durable what it shows: somebody may act on it, and killed processes leave behind what
    can be read but is not on the medium. Second crashes are explored where a share asks for them.

    After a recovery from an image, crashing that recovery must lead to the same state again; after a
    recovery of killed processes, to what the first check allows. Once it is recovered, what it found must
    stay, or pass the check that `go_on` returned. What is tried follows from the arguments alone.

    Attributes:
        counts: how much was explored so far.
        seed: as it was given.
    """

    def __init__(
        self,
        recover: Recover[S],
        *,
        go_on: GoOn[S] | None = None,
        images: int = 64,
        sectors: Sequence[int] = (512,),
        second_images: int = 8,
        second_share: float = 0.0,
        kill_share: float = 0.0,
        generations: int = 2,
        shard: tuple[int, int] = (1, 1),
        seed: int = 0,
    ) -> None:
        """Explore nothing yet.

        Args:
            recover: starts the writer; it may write, and finds the same in equal images.
            go_on: called after each recovery, but not after one from a last crash.
            images: at most so many images of each point, at least 2.
            sectors: how many bytes the medium may write at once.
            second_images: the same as `images` for crashes after the first.
            second_share: which share of the recoveries from an image is crashed, at every point.
            kill_share: at which share of the syncs the processes are also killed just before, recover on the
                machine as it is, and are crashed at every point from there on.
            generations: how many crashes follow one another.
            shard: (i, n) for the i-th of n explorers that share the work; together they do what (1, 1) does.
            seed: another one chooses others.
        """
        self.counts = CrashCounts()
        self._recover = recover
        self._go_on = go_on
        self._limits = (images, *[second_images] * (generations - 1))
        self._sectors = sectors
        self._second_share = second_share
        self._kill_share = kill_share
        self._shard = shard
        self.seed = seed
        self._known: tuple[dict[bytes, S], dict[bytes, S]] = ({}, {})

    async def explore(
        self, fs: SimFileSystem, check: Check[S], *, points: Sequence[int] | None = None, label: str = ""
    ) -> None:
        """Crash a recorded run at every point.

        Args:
            fs: what it was written on.
            check: what may be found.
            points: the points to crash it at, if not all, in ascending order.
            label: the run's name in failures.

        Raises:
            CrashFoundError: `recover`, `go_on` or `check` raised after a crash.
        """
        run = _Run(fs, check, label)
        chosen = range(fs.point + 1) if points is None else points
        await self._crash(run, chosen)
        for point in chosen:
            if point < fs.point and fs.log[point].call in SYNCS:
                await self._kill(run, point)

    async def replay(self, fs: SimFileSystem, check: Check[S], trail: str, *, label: str = "") -> None:
        """Do only the crashes of a failure's trail, in an explorer made with the same arguments.

        Raises:
            CrashFoundError: it fails again.
            ValueError: the run has no such crash.
        """
        run = _Run(fs, check, label)
        for step in filter(None, trail.split("/")):
            at, _, number = step.partition(":")
            if number == _KILLED:
                after = run.fs.killed(int(at))
            else:
                image = next(islice(self._images(run, int(at)), int(number), None), None)
                if image is None:
                    raise ValueError(f"there is no crash {step} in this run: it is not the one that failed")
                after = SimFileSystem.from_image(image)
            _, run = await self._restart(run, step, after)

    async def _kill(self, run: _Run[S], point: int) -> None:
        """Kill the processes if this point is chosen; crash what they do once they are started again."""
        name = f"{run.label} {point}".encode()
        if self._chance(name) < self._kill_share and self._is_ours(name):
            self.counts.kills += 1
            self.counts.recoveries += 1
            _, after = await self._restart(run, f"{point}:{_KILLED}", run.fs.killed(point))
            await self._crash(after, range(point, after.fs.point + 1))

    async def _crash(self, run: _Run[S], points: Sequence[int]) -> None:
        for point in points:
            self.counts.points += 1
            for number, image in enumerate(self._images(run, point)):
                await self._cut_off(run, f"{point}:{number}", image)

    async def _cut_off(self, run: _Run[S], step: str, image: SimImage) -> None:
        """Recover from an image unless that was done; crash the recovery when it is chosen."""
        key, is_last = image.key, self._is_last(run)
        if not run.trail and not self._is_ours(key):
            return
        known = self._known[is_last]
        if key in known:
            self.counts.repeated += 1
            with self._naming(run, step):
                run.check(known[key], _point(step))
            return
        known[key], after = await self._restart(run, step, SimFileSystem.from_image(image))
        if run.trail:
            self.counts.second_images += 1
        else:
            self.counts.images += 1
        if not is_last and self._chance(key) < self._second_share:
            self.counts.recoveries += 1
            await self._crash(after, range(after.fs.point + 1))

    async def _restart(self, run: _Run[S], step: str, fs: SimFileSystem) -> tuple[S, _Run[S]]:
        """What is recovered, and the recovery as a run of its own."""
        begun, point = fs.point, _point(step)
        with self._naming(run, step):
            state = await self._recover(fs)
            run.check(state, point)
            recovered = fs.point
            later: Check[S] | None = None
            if self._go_on is not None and not self._is_last(run):
                later = await self._go_on(fs, state)

        def check(found: S, at: int) -> None:
            if at >= recovered and later is not None:
                later(found, at)
            elif at < recovered and begun:
                run.check(found, point)
            elif found != state:
                raise AssertionError(f"{found} was recovered after {state} had been")

        return state, _Run(fs, check, run.label, (*run.trail, step))

    def _images(self, run: _Run[S], point: int) -> Iterator[SimImage]:
        limit = self._limits[len(run.trail)]
        return run.fs.images(point, limit, sectors=self._sectors, seed=self.seed)

    def _is_last(self, run: _Run[S]) -> bool:
        return len(run.trail) + 1 == len(self._limits)

    def _chance(self, name: bytes, salt: bytes = b"") -> float:
        """A number from 0 to 1 that belongs to a name; looks random, and is the same each time."""
        return zlib.crc32(salt + name, self.seed) / (1 << 32)

    def _is_ours(self, name: bytes) -> bool:
        number, of = self._shard
        return int(self._chance(name, b"shard") * of) + 1 == number

    @contextmanager
    def _naming(self, run: _Run[S], step: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise CrashFoundError(run.label, "/".join((*run.trail, step)), self.seed, error) from error


def _point(step: str) -> int:
    return int(step.partition(":")[0])
