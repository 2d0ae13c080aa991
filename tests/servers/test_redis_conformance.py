"""The conformance suite over Redis."""

import pytest

from kernelckpt import open_storage
from kernelckpt.testing import StorageConformance

pytestmark = pytest.mark.servers


class TestRedisStorage(StorageConformance):
    @pytest.fixture
    def storage_factory(self, redis_server):
        url = redis_server.url()

        async def open_client():
            return await open_storage(url)

        return open_client
