"""The conformance of storages on servers: connections are cut, clients are killed. Redis has its own."""

import pytest
from stores import FIXTURES, SERVERS

from kernelckpt import open_storage
from kernelckpt.testing import NetworkConformance, ProcessConformance

pytestmark = pytest.mark.servers


@pytest.fixture(params=sorted(SERVERS.keys() - {"redis"}))
def server(request):
    return request.getfixturevalue(FIXTURES[request.param])


@pytest.fixture
def url(request, server):
    """Of an empty store on it."""
    return SERVERS[request.node.callspec.params["server"]](server)


class TestConnections(NetworkConformance):
    cut_every = 149  # a request of an object store is seven times as long, and most calls make several
    silence = 25.0  # the longest call asks twice of a server that is given 5 s for each answer

    @pytest.fixture
    def server_address(self, server):
        return "127.0.0.1", server.port

    @pytest.fixture
    def proxied(self, server, url):
        return lambda _, port: opening(url.replace(f":{server.port}", f":{port}") + "&timeout=5")

    @pytest.fixture
    def storage_factory(self, url):
        return opening(url)


class TestProcesses(ProcessConformance):
    kill_after = (24,)  # each time, the heartbeat of whoever was killed must be old, which takes 25 s
    takeover_seconds = 60.0

    @pytest.fixture
    def storage_url(self, url):
        return url


def opening(url):
    async def open_client():
        return await open_storage(url)

    return open_client
