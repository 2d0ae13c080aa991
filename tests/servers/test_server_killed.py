"""The server of a storage is killed and started again while 200 agents work: nothing acknowledged is lost."""

import pytest
from server_trial import Trial
from stores import FIXTURES, SERVERS

from kernelckpt import FileStorage
from kernelckpt.errors import CheckpointFailedError, StorageUnavailableError, UnknownOutcomeError


class PretendedServer:
    """A file storage as if a server were before it, which is not always there."""

    def __init__(self, path):
        self._storage = FileStorage(path)
        self._up = True

    def kill(self):
        self._up = False

    def start(self):
        self._up = True

    def __getattr__(self, name):
        found = getattr(self._storage, name)
        if not callable(found) or name == "aclose":
            return found

        async def call(*arguments, **options):
            if not self._up:
                raise StorageUnavailableError("no answer", hint="is it running?")
            result = await found(*arguments, **options)
            if not self._up:
                kind = UnknownOutcomeError if name == "append" else StorageUnavailableError
                raise kind("the answer was lost")
            return result

        return call


async def test_a_kernel_outlives_the_restarts_of_its_server(tmp_path):
    server = PretendedServer(tmp_path)
    outcome = await Trial(server, f"file:{tmp_path}", storage=server).run()
    assert (outcome.errors, outcome.restarts) == ([], 2)
    assert outcome.failures >= 4


async def test_a_kernel_that_may_not_fail_stops_and_the_next_one_goes_on(tmp_path):
    server = PretendedServer(tmp_path)
    outcome = await Trial(server, f"file:{tmp_path}", storage=server, most_failures=1).run()
    assert [type(error) for error in outcome.errors] == [CheckpointFailedError] * 2


@pytest.fixture(params=["postgres", "redis"])
def trial(request):
    """Makes a trial on a real server, which is given up soon."""
    server = request.getfixturevalue(FIXTURES[request.param])
    url = SERVERS[request.param](server) + ("&timeout=4" if request.param == "postgres" else "")
    return lambda **options: Trial(server, url, **options)


@pytest.mark.servers
async def test_a_kernel_outlives_the_kills_of_a_real_server(trial):
    outcome = await trial().run()
    assert (outcome.errors, outcome.restarts) == ([], 2)
    assert outcome.failures >= 4


@pytest.mark.servers
async def test_a_kernel_that_may_not_fail_stops_when_a_real_server_is_killed(trial):
    outcome = await trial(most_failures=1).run()
    assert [type(error) for error in outcome.errors] == [CheckpointFailedError] * 2
    assert outcome.restarts == 2
