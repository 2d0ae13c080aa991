"""Stores that are forked, closed in the middle, copied to by the command line, and asked by it."""

import os
import warnings

import pytest
from stores import store  # noqa: F401 - a fixture

from kernelckpt import open_storage
from kernelckpt.errors import StorageUnavailableError

pytestmark = [pytest.mark.servers, pytest.mark.may_block]


async def test_a_forked_child_leaves_a_postgres_session_to_its_parent(postgres_server):
    """What it sent over the socket that both have would be the parent's word, and end its ownership."""
    async with open_storage(postgres_server.url("forked")) as storage:
        claim = await storage.acquire("run", "test")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, about threads
            child = os.fork()
        if not child:
            refused = 0
            try:
                for call in (
                    storage.append("run", claim.epoch, 1, [b"of the child"], b""),
                    storage.list_runs(),
                    storage.aclose(),
                ):
                    try:
                        call.send(None)
                    except (StorageUnavailableError, StopIteration):
                        refused += 1
            finally:
                os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        await storage.append("run", claim.epoch, 1, [b"of the parent"], b"")
