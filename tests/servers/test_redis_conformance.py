"""The conformance suite over Redis: in one process, in several, and over a connection that is cut."""

import pytest

from kernelckpt import open_storage
from kernelckpt.testing import NetworkConformance, ProcessConformance, StorageConformance

pytestmark = pytest.mark.servers


def factory(url):
    async def open_client():
        return await open_storage(url)

    return open_client


class TestRedisStorage(StorageConformance):
    many_entries = 5_000  # each waits for a sync

    @pytest.fixture
    def storage_factory(self, redis_server):
        return factory(redis_server.url())


class TestRedisStorageInProcesses(ProcessConformance):
    kill_after = (24,)  # each time, the key of whoever was killed must expire, which takes 20 s

    @pytest.fixture
    def storage_url(self, redis_server):
        return redis_server.url()


class TestRedisStorageCutOff(NetworkConformance):
    silence = 15.0  # three tries of 2 s, and the pauses between

    @pytest.fixture
    def url(self, redis_server):
        return redis_server.url()

    @pytest.fixture
    def storage_factory(self, url):
        return factory(url)

    @pytest.fixture
    def server_address(self, redis_server):
        return "127.0.0.1", redis_server.port

    @pytest.fixture
    def proxied(self, redis_server, url):
        def reached(host, port):
            return factory(url.replace(f"127.0.0.1:{redis_server.port}", f"{host}:{port}") + "&timeout=2")

        return reached
