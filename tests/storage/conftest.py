"""A folder to keep runs in, and clients of it."""

from pathlib import Path

import pytest

from kernelckpt.storage import FileStorage
from kernelckpt.storage.file.name import run_folder_name
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import FaultyFileOps


class Folder:
    """A storage folder, its clients, and the files of the run "run"."""

    def __init__(self, path: Path):
        self.path = path
        self.clients = []

    def client(self, ops=None):
        storage = FileStorage(self.path, ops=ops)
        self.clients.append(storage)
        return storage

    def faulty(self):
        ops = FaultyFileOps(FileOps())
        return self.client(ops), ops

    @property
    def run(self) -> Path:
        return self.path / run_folder_name("run")

    def names(self, prefix=""):
        return sorted(path.name for path in self.run.iterdir() if path.name.startswith(prefix))

    async def write(self, *bodies, start=None, storage=None):
        """Acquire the run, add entries, and go away without ceremony: the next one finds a dead owner."""
        storage = storage or self.client()
        claim = start or await storage.acquire("run", "test")
        for number, body in enumerate(bodies, claim.head + 1):
            await storage.append("run", claim.epoch, number, [body], b"meta %d" % number)
        await storage.aclose()
        return claim

    async def listed(self, storage=None):
        """What a client that remembers nothing finds: (epoch, sequence, whether it is damaged)."""
        storage = storage or self.client()
        entries = await storage.list_entries("run")
        return [(entry.epoch, entry.sequence, bool(entry.damage)) for entry in entries]

    async def contents(self):
        storage = self.client()
        entries = await storage.list_entries("run")
        return [await storage.read("run", entry.epoch, entry.sequence) for entry in entries]


@pytest.fixture
async def folder(tmp_path):
    found = Folder(tmp_path / "state")
    yield found
    for client in found.clients:
        await client.aclose()
