"""Runs written in an older format are read through the steps that lead to the present one."""

import pytest
from log_kit import RUN

from kernelckpt.abc import Append, Put
from kernelckpt.codec import version
from kernelckpt.codec.codec import Codec
from kernelckpt.errors import UnsupportedVersionError
from kernelckpt.log import list_checkpoints, read_run


def louder(changes):
    """A step as a release would register it: records and items were lower case in the version before."""
    upgraded = []
    for change in changes:
        if isinstance(change, Put):
            upgraded.append(Put(change.key, change.record.upper()))
        elif isinstance(change, Append):
            upgraded.append(Append(change.key, change.start, tuple(item.upper() for item in change.items)))
        else:
            upgraded.append(change)
    return upgraded


STEPS = {version.FORMAT_VERSION: louder}


@pytest.fixture
async def older(client, monkeypatch):
    client.put("a", b"one")
    client.say("a", b"hello")
    await client.flush()
    await client.base()
    client.put("b", b"two")
    client.say("a", b"world")
    await client.flush()
    monkeypatch.setattr(version, "FORMAT_VERSION", version.FORMAT_VERSION + 1)
    return client


async def test_an_older_run_is_upgraded_while_it_is_read(older, storage):
    codec = Codec(steps=STEPS)
    loaded = await read_run(storage, RUN, codec=codec)
    assert loaded.records == {("row", "a", 0): b"ONE", ("row", "b", 0): b"TWO"}
    assert loaded.streams == {("history", "a", 0): [b"HELLO", b"WORLD"]}
    assert loaded.base == 2
    assert (await read_run(storage, RUN, at=1, codec=codec)).records == {("row", "a", 0): b"ONE"}
    assert len(await list_checkpoints(storage, RUN, codec=codec)) == 3


async def test_an_older_run_without_a_step_is_refused(older, storage):
    with pytest.raises(UnsupportedVersionError, match="no step leads from 2 to 3"):
        await read_run(storage, RUN, codec=Codec(steps={}))
