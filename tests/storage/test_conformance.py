"""The conformance suite over the backends that need no server."""

import pytest

from kernelckpt.storage import FileStorage, MemoryState, MemoryStorage, SqliteStorage
from kernelckpt.testing import ProcessConformance, StorageConformance


class TestMemoryStorage(StorageConformance):
    @pytest.fixture
    def storage_factory(self):
        state = MemoryState()

        async def open_client():
            return MemoryStorage(state)

        return open_client


class TestFileStorage(StorageConformance):
    many_entries = 5_000  # each is synced

    @pytest.fixture
    def storage_factory(self, tmp_path):
        async def open_client():
            return FileStorage(tmp_path / "state")

        return open_client


class TestFileStorageInProcesses(ProcessConformance):
    @pytest.fixture
    def storage_url(self, tmp_path):
        return f"file:{tmp_path / 'state'}"


class TestSqliteStorage(StorageConformance):
    many_entries = 5_000

    @pytest.fixture
    def storage_factory(self, tmp_path):
        async def open_client():
            return SqliteStorage(tmp_path / "state.db")

        return open_client


class TestSqliteStorageInProcesses(ProcessConformance):
    @pytest.fixture
    def storage_url(self, tmp_path):
        return f"sqlite:{tmp_path / 'state.db'}"
