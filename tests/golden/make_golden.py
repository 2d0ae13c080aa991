"""Writes the golden runs of the present format: `python tests/golden/make_golden.py`.

A run that a release has written stays as it is, for ever: that it is still read is what it is for. Only
what is missing is written; a new version of the format begins a folder of its own.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import every_record
import life
from msgspec import Struct

from kernelckpt import (
    Approve,
    Cancel,
    CheckpointHook,
    Deny,
    FileStorage,
    KernelSnapshot,
    KeyRing,
    LogOptions,
    Message,
    Program,
    Scheduler,
    SendMessage,
    SendSignal,
    load,
    post_command,
)
from kernelckpt.abc import Change
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.record import encode_record
from kernelckpt.codec.version import FORMAT_VERSION
from kernelckpt.errors import StorageError
from kernelckpt.log import RunLog, list_checkpoints, read_run
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import ManualClock

HERE = Path(__file__).parent
WALL_NS = 1_700_000_000 * 10**9


class FixedOps(FileOps):
    """The real file system, where it is always the same time."""

    def wall_ns(self) -> int:
        return WALL_NS


class NamelessStorage(FileStorage):
    """Keeps no word of the process and host that wrote a run."""

    async def acquire(self, run_id, holder, *, takeover=False):
        return await super().acquire(run_id, "the writer of golden runs", takeover=takeover)

    keeps_posted = False

    async def delete_posted(self, run_id, message_ids):
        if self.keeps_posted:
            raise StorageError("not now")
        await super().delete_posted(run_id, message_ids)


SEALED = "sealed"
"""The run that is compressed, and encrypted with two keys."""

OUTSIDE = "outside"
"""The run that other processes have posted commands to."""


class GoldenRun(Struct, frozen=True):
    """A run as it was written: where, its id, and the snapshot of each of its checkpoints beside it."""

    folder: Path
    run_id: str

    @property
    def states(self) -> dict[int, Path]:
        """The JSON snapshots, by the number of their checkpoint."""
        return {int(path.stem): path for path in sorted(self.folder.glob("*.json"))}

    @property
    def keys(self) -> KeyRing | None:
        """What it is encrypted with, in part; no secret."""
        file = self.folder / "keys"
        return KeyRing.parse(file.read_text(), accept_plaintext=True) if file.exists() else None

    @property
    def newest(self) -> KernelSnapshot:
        """The snapshot of the newest checkpoint."""
        return KernelSnapshot.from_json(self.states[max(self.states)].read_text())

    def copy(self, root: Path) -> Path:
        """A copy of the storage, for a test to use."""
        return shutil.copytree(self.folder / "storage", root / self.folder.name)


def golden_runs(version: int = FORMAT_VERSION) -> list[GoldenRun]:
    """The runs that were written in a version of the format."""
    found = (HERE / f"v{version}").iterdir()
    return [GoldenRun(folder, folder.name) for folder in sorted(found) if (folder / "storage").is_dir()]


async def own(
    storage: FileStorage,
    run_id: str,
    commits: Sequence[Sequence[Change]],
    *,
    base: bool,
    codec: Codec = PLAIN_CODEC,
) -> None:
    """What one owner does: a base of what it finds, if asked for, then these commits."""
    options = LogOptions(sparse_below=0.9)
    clock = ManualClock()
    log = await RunLog.open(
        storage, run_id, holder="", clock=clock, encode=encode_record, options=options, codec=codec
    )
    if base:
        live = await read_run(storage, run_id, codec=codec)
        await log.write_base(iter([*live.records.items(), *((key, None) for key in live.streams)]))
    for changes in commits:
        log.stage(changes, log.staged_commit + 1, 7)
        await log.flush("turn")
    await log.aclose()


async def write_every(
    storage: FileStorage, run_id: str = "every", codecs: Sequence[Codec] = (PLAIN_CODEC,) * 4
) -> None:
    """Every kind of record, by four owners; the last base copies items into a blob of their own."""
    commits = every_record.commits()
    await own(storage, run_id, commits[:1], base=False, codec=codecs[0])
    await own(storage, run_id, commits[1:3], base=True, codec=codecs[1])
    await own(storage, run_id, [], base=True, codec=codecs[2])
    await own(storage, run_id, commits[3:], base=True, codec=codecs[3])


async def write_sealed(storage: FileStorage) -> None:
    """The same, begun without keys, compressed, then encrypted with one key, then with another."""
    text = (Path(storage.path).parent / "keys").read_text()
    rings = [KeyRing.parse(text, accept_plaintext=True) for _ in range(2)]
    rings[1].use(rings[1].ids[1])
    await write_every(
        storage, SEALED, [PLAIN_CODEC, Codec(compression=3), *(Codec(ring, 3) for ring in rings)]
    )


async def write_life(storage: FileStorage) -> None:
    """Two lives of a kernel with a base between them; much is left open."""
    clock = ManualClock()
    for live in (life.begin, life.go_on):
        async with life.kernel_of(CheckpointHook(storage, every=None, owner_wait=0), clock=clock) as kernel:
            await live(kernel)
        await clock.advance(60)
        if live is life.begin:
            await own(storage, life.RUN, [], base=True)
    await storage.post(life.RUN, "m1", b"posted while nobody was at home")


def outside_kernel(storage: FileStorage, clock: ManualClock) -> Scheduler:
    """The kernel of the run that others have posted to."""
    programs = {"listen": Program(life.listen, state=dict[str, int]), "ask": life.ask}
    hook = CheckpointHook(storage, every=None, owner_wait=0)
    return Scheduler(programs, run_id=OUTSIDE, hooks=[hook], clock=clock)


DONE = (SendMessage("listener", Message.user("one")), Deny("nobody", reason="why"))
"""Commands that were done, or refused, when the run was written; they still lie in its inbox."""

TO_DO = (
    SendMessage("listener", Message.user("two"), key="k"),
    SendSignal(life.TICK, "listener"),
    Approve("asker", ("go",), by="Ann"),
    Cancel("other", "enough"),
)
"""Commands that no kernel has taken."""


async def write_outside(storage: FileStorage) -> None:
    """A kernel that could not delete the commands it had taken; then others are posted."""
    clock = ManualClock()
    async with outside_kernel(storage, clock) as kernel:
        for program, task_id in (("listen", "listener"), ("ask", "asker"), ("ask", "other")):
            await kernel.submit(program, task_id=task_id)
        await kernel.idle()
    await own(storage, OUTSIDE, [], base=True)
    for command in DONE:
        await post_command(storage, OUTSIDE, command, clock=clock)
    storage.keeps_posted = True
    async with outside_kernel(storage, clock) as kernel:
        await kernel.idle()
    for command in TO_DO:
        await post_command(storage, OUTSIDE, command, clock=clock)


async def write(folder: Path, run_id: str, how: Callable[[FileStorage], Awaitable[None]]) -> None:
    """Write a run, and beside it the snapshots of its first base and of its newest checkpoint."""
    if run_id == SEALED:
        keys = (f"{name}:{base64.b64encode(KeyRing.generate()).decode()}\n" for name in ("k1", "k2"))
        (folder / "keys").write_text("".join(keys))
    async with NamelessStorage(folder / "storage", ops=FixedOps()) as storage:
        await how(storage)
        keys = GoldenRun(folder, run_id).keys
        infos = await list_checkpoints(storage, run_id, codec=Codec(keys))
        first = next(info.sequence for info in infos if info.kind == "base")
        for number in (first, infos[-1].sequence):
            text = (await load(storage, run_id, number, keys=keys)).to_json()
            (folder / f"{number}.json").write_text(text + "\n")


WRITERS = {"every": write_every, SEALED: write_sealed, "life": write_life, OUTSIDE: write_outside}


def main() -> None:
    """Write what is missing."""
    for run_id, how in WRITERS.items():
        folder = HERE / f"v{FORMAT_VERSION}" / run_id
        if not folder.exists():
            folder.mkdir(parents=True)
            asyncio.run(write(folder, run_id, how))
            print(f"wrote {folder.relative_to(HERE)}")


if __name__ == "__main__":
    main()
