"""The conformance suite over a connection that is cut, and clients that lie about what became of a call."""

import inspect
from functools import partial

import pytest
from remote_kit import RemoteServer, RemoteStorage

from kernelckpt.errors import KernelCkptError, StorageUnavailableError, UnknownOutcomeError
from kernelckpt.testing import NetworkConformance, StorageConformance


@pytest.fixture
async def server():
    async with RemoteServer() as server:
        yield server


def factory(host, port, backend=RemoteStorage):
    async def open_client():
        return backend(host, port)

    return open_client


class TestRemoteStorage(StorageConformance):
    many_entries = 2_000  # each opens a connection

    @pytest.fixture
    def storage_factory(self, server):
        return factory(*server.address)


class Quick(RemoteStorage):
    """Gives up soon: only silence makes it wait."""

    seconds = 2


class TestRemoteStorageCutOff(NetworkConformance):
    @pytest.fixture
    def storage_factory(self, server):
        return factory(*server.address)

    @pytest.fixture
    def server_address(self, server):
        return server.address

    @pytest.fixture
    def proxied(self):
        return partial(factory, backend=Quick)


class Guessing(RemoteStorage):
    """Takes a lost answer for a refusal."""

    async def append(self, *arguments):
        try:
            await super().append(*arguments)
        except UnknownOutcomeError as error:
            raise StorageUnavailableError("not added", hint="try again") from error


class Hopeful(RemoteStorage):
    """Takes a lost answer for an acknowledgement."""

    async def _call(self, method, *arguments, **options):
        try:
            return await super()._call(method, *arguments, **options)
        except UnknownOutcomeError:
            return None


class Impatient(RemoteStorage):
    """Posts again under another id when there was no answer."""

    once = RemoteStorage.once | {"post"}

    async def post(self, run_id, message_id, data):
        try:
            return await self._call("post", run_id, message_id, data)
        except UnknownOutcomeError:
            return await self._call("post", run_id, message_id + " again", data)


class Partial(RemoteStorage):
    """Gives an empty listing when the connection breaks."""

    once = RemoteStorage.once | {"list_entries"}

    async def list_entries(self, run_id, *, after=0, limit=1000):
        try:
            return await self._call("list_entries", run_id, after=after, limit=limit)
        except UnknownOutcomeError:
            return []


class Patient(RemoteStorage):
    """Waits for an answer for ever."""

    seconds = None


class Mute(RemoteStorage):
    """Says nothing of what to check."""

    async def _call(self, method, *arguments, **options):
        try:
            return await super()._call(method, *arguments, **options)
        except StorageUnavailableError as error:
            raise StorageUnavailableError("no") from error


class Oblivious(RemoteStorage):
    """Comes as another client after it was cancelled or cut off, and is refused its own run."""

    async def _ask(self, method, request):
        try:
            return await super()._ask(method, request)
        except KernelCkptError:
            self._client = -self._client - 1
            raise


LIARS = {
    Guessing: "test_an_append_cut_off_anywhere",
    Hopeful: "test_a_blob_cut_off_anywhere",
    Impatient: "test_a_post_cut_off_anywhere",
    Partial: "test_reading_cut_off_anywhere",
    Patient: "test_a_silent_network",
    Mute: "test_a_server_that_cannot_be_reached",
    Oblivious: "test_an_append_cut_off_anywhere",
}


class SmallConformance(NetworkConformance):
    silence = 2.0


@pytest.mark.parametrize("backend", LIARS, ids=lambda backend: backend.__name__)
async def test_a_lying_client_is_rejected(server, backend):
    def proxied(host, port):
        return factory(host, port, backend)

    test = getattr(SmallConformance(), LIARS[backend])
    with pytest.raises((AssertionError, KernelCkptError, TimeoutError)):
        await test(proxied(*server.address), server.address, proxied)


def test_every_test_of_the_network_asks_for_the_same_fixtures():
    wanted = ["self", "storage_factory", "server_address", "proxied"]
    for name, test in inspect.getmembers(NetworkConformance, inspect.iscoroutinefunction):
        assert not name.startswith("test_") or [*inspect.signature(test).parameters] == wanted, name
