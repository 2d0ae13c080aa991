"""The conformance suite over object stores."""

import pytest

from kernelckpt.storage.objects import open_objects
from kernelckpt.testing import StorageConformance

pytestmark = pytest.mark.servers


class TestS3Storage(StorageConformance):
    @pytest.fixture
    def storage_factory(self, object_server):
        url = object_server.url(object_server.make_bucket())

        async def open_client():
            return await open_objects(url)

        return open_client


class TestAzureStorage(StorageConformance):
    @pytest.fixture
    def storage_factory(self, azurite_server):
        url = azurite_server.url(azurite_server.make_bucket())

        async def open_client():
            return await open_objects(url)

        return open_client
