"""Where the simulated run is kept: files on a disk that fails, or a server that loses answers."""

from sim_owner import RUN

from kernelckpt.storage import FileStorage, MemoryStorage
from kernelckpt.storage.memory import MemoryState
from kernelckpt.testing import FileFaults, FlakyFileOps, FlakyStorage, SimFileSystem, StorageFaults

FOLDER = "/machine/state"

CALM, WEATHER = "calm", ("calm", "slow", "failing", "full", "stalling", "storm")

FILES = {
    "calm": FileFaults(seconds=0.0005),
    "slow": FileFaults(seconds=0.1, pauses=1.0),
    "failing": FileFaults(changes=0.05, syncs=0.2, reads=0.002),
    "full": FileFaults(full=0.7),
    "stalling": FileFaults(stalls=0.02),
    "storm": FileFaults(seconds=0.02, changes=0.2, syncs=0.4, reads=0.01, stalls=0.02),
}
SERVER = {
    "calm": StorageFaults(seconds=0.0005),
    "slow": StorageFaults(seconds=0.2),
    "failing": StorageFaults(fails=0.2, unknown=0.1),
    "full": StorageFaults(fails=0.5),
    "stalling": StorageFaults(stalls=0.05),
    "storm": StorageFaults(seconds=0.02, fails=0.3, unknown=0.3, stalls=0.02),
}


class FileMachine:
    """A machine with a disk; all owners of the run are its processes."""

    def __init__(self, world):
        self.world = world
        self.fs = SimFileSystem()
        self.weather = CALM
        self._ops = []

    def open(self, owner):
        ops = FlakyFileOps(self.fs, self.world.loop, owner.process, FILES[self.weather])
        self._ops.append(ops)
        return FileStorage(FOLDER, ops=ops)

    def turn(self, weather):
        self.weather = weather
        for ops in self._ops:
            ops.faults = FILES[weather]

    def cut_power(self):
        """All processes die; what the disk holds is one of the states it may be left in."""
        for owner in self.world.owners:
            owner.process.kill()
        seed = self.world.chance.randrange(1000)
        images = list(self.fs.images(self.fs.point, 12, seed=seed))
        self.note()
        self.fs = SimFileSystem.from_image(self.world.chance.choice(images))

    def reader(self):
        return FileStorage(FOLDER, ops=self.fs)

    def note(self):
        """Let what was written count for the digest."""
        for op in self.fs.log:
            self.world.note_bytes(repr((op.call, op.path, op.offset, op.data)).encode())
        self.world.counts["operations"] += len(self.fs.log)
        self.world.counts["faults"] += sum(ops.failed for ops in self._ops)
        self._ops = []


class ServerMachine:
    """A server that survives everything; it takes an owner for alive until it has noticed its death."""

    def __init__(self, world):
        self.world = world
        self.weather = CALM
        self._state = MemoryState()
        self._storages = []

    def open(self, owner):
        client = MemoryStorage(self._state)
        storage = FlakyStorage(client, self.world.loop, SERVER[self.weather])
        self._storages.append(storage)
        owner.process.at_kill.append(lambda: self._lose(client))
        return storage

    def _lose(self, client):
        def forget():
            for run in self._state.runs.values():
                if client._owns(run):
                    run.owner = None

        for seconds in (self.world.chance.choice([0.0, 1.0, 20.0]), 200.0):  # later, for what was on its way
            self.world.loop.call_later(seconds, forget)

    def turn(self, weather):
        self.weather = weather
        for storage in self._storages:
            storage.faults = SERVER[weather]

    def cut_power(self):
        """The machine of the owners dies, the server does not."""
        for owner in self.world.owners:
            owner.process.kill()

    def reader(self):
        return MemoryStorage(self._state)

    def note(self):
        for sequence, (_, body) in sorted(self._state.runs[RUN].entries.items()):
            self.world.note_bytes(repr((sequence, body)).encode())
        self.world.counts["faults"] += sum(storage.failed for storage in self._storages)
