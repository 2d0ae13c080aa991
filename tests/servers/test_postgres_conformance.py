"""The conformance suite over PostgreSQL."""

import uuid

import pytest

from kernelckpt.storage.postgres.storage import open_postgres
from kernelckpt.testing import StorageConformance

pytestmark = pytest.mark.servers


class TestPostgresStorage(StorageConformance):
    many_entries = 10_000  # each waits for a sync

    @pytest.fixture
    def storage_factory(self, postgres_server):
        url = postgres_server.url(f"conformance {uuid.uuid4().hex}".replace(" ", "_"))

        async def open_client():
            return await open_postgres(url)

        return open_client
