"""The log over a storage in memory, opened as often as a test likes."""

import pytest
from log_kit import RUN, Client, ManualClock, ScriptedStorage

from kernelckpt.log import LogOptions, RunLog


@pytest.fixture
def still(monkeypatch):
    """No time passes: who yields at each step does not rest, however busy the machine is."""
    monkeypatch.setattr("kernelckpt.log.time_slice.perf_counter", lambda: 0.0)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def storage():
    return ScriptedStorage()


@pytest.fixture
def reopen(storage, clock):
    """Open the run again, as another process would after this one was killed."""

    async def open_run(**options):
        options.setdefault("takeover", True)
        options.setdefault("options", LogOptions(retry_first=0.05))
        log = await RunLog.open(storage, RUN, holder="test", clock=clock, **options)
        return Client(log)

    return open_run


@pytest.fixture
def other_client(storage):
    return lambda: ScriptedStorage(storage._state)


@pytest.fixture
async def client(reopen):
    found = await reopen()
    yield found
    await found.log.aclose()
