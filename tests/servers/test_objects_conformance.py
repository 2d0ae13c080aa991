"""The conformance suite over object stores."""

import pytest
from generations import Generations
from http_proxy import HttpProxy

from kernelckpt.storage.objects.storage import open_objects
from kernelckpt.testing import StorageConformance

pytestmark = pytest.mark.servers


class SmallConformance(StorageConformance):
    """The emulators answer a few hundred requests a second: as many entries as make two pages."""

    many_entries = 1_200
    many_runs = 100
    large_blob_bytes = 50_000_000


class TestS3Storage(SmallConformance):
    @pytest.fixture
    def storage_factory(self, object_server):
        url = object_server.url(object_server.make_bucket())

        async def open_client():
            return await open_objects(url)

        return open_client


class TestGoogleStorage(SmallConformance):
    """Google's requests and conditions, translated: no server of theirs runs on one's own machine."""

    @pytest.fixture
    async def storage_factory(self, object_server):
        bucket = object_server.make_bucket()
        async with HttpProxy(object_server.port) as proxy:
            proxy.meddle = Generations()

            async def open_client():
                return await open_objects(f"gs://{bucket}?endpoint=http://127.0.0.1:{proxy.port}")

            yield open_client


class TestAzureStorage(SmallConformance):
    @pytest.fixture
    def storage_factory(self, azurite_server):
        url = azurite_server.url(azurite_server.make_bucket())

        async def open_client():
            return await open_objects(url)

        return open_client
