"""Conformance of a storage: the inbox, into which anybody may post."""

from __future__ import annotations

import asyncio

from kernelckpt.abc import StorageBackend
from kernelckpt.errors import NotFoundError
from kernelckpt.testing.expect import ODD_NAMES, StorageFactory, append_some, as_bytes, owned_run, refused

_POSTERS, _POSTS = 5, 20


class InboxConformance:
    """Anybody may post; a message is there once, in order, until it is deleted."""

    async def test_posting_is_idempotent_and_ordered(self, storage_factory: StorageFactory) -> None:
        """The first message of an id stays, whoever posts another."""
        async with owned_run(storage_factory) as (storage, _), await storage_factory() as other:
            for number in range(12):
                assert await other.post("run", f"m{number}", b"%d" % number) is True
            assert await storage.post("run", "m3", b"another") is False
            found = await storage.posted("run")
            assert [message.message_id for message in found] == [f"m{number}" for number in range(12)]
            assert [message.data for message in found] == [b"%d" % number for number in range(12)]
            orders = [message.order for message in found]
            assert orders == sorted(set(orders))

    async def test_of_equal_posts_one_counts(self, storage_factory: StorageFactory) -> None:
        """Also when they come at once from several clients."""
        async with owned_run(storage_factory) as (storage, _), await storage_factory() as other:
            tries = [client.post("run", "same", b"x") for client in (storage, other) * 5]
            assert sorted(await asyncio.gather(*tries)) == [False] * 9 + [True]
            assert len(await storage.posted("run")) == 1

    async def test_deleting_posted_messages(self, storage_factory: StorageFactory) -> None:
        """Missing ones are no error; a deleted id may be posted again."""
        async with owned_run(storage_factory) as (storage, claim):
            for message_id in ("a", "b", "c"):
                await storage.post("run", message_id, b"")
            await storage.delete_posted("run", ["b", "none"])
            assert [message.message_id for message in await storage.posted("run")] == ["a", "c"]
            assert await storage.post("run", "b", b"again") is True
            await append_some(storage, claim, 1)
            assert [message.message_id for message in await storage.posted("run")] == ["a", "c", "b"]

    async def test_odd_message_ids(self, storage_factory: StorageFactory) -> None:
        """Every id is its own."""
        async with owned_run(storage_factory) as (storage, _):
            for name in ODD_NAMES:
                assert await storage.post("run", name, as_bytes(name)) is True
            found = {message.message_id: message.data for message in await storage.posted("run")}
            assert found == {name: as_bytes(name) for name in ODD_NAMES}

    async def test_posters_race_a_taker(self, storage_factory: StorageFactory) -> None:
        """Each message is taken once, and none is listed before one that had been acknowledged before it."""
        async with owned_run(storage_factory) as (owner, _), await storage_factory() as other:
            acknowledged: list[str] = []
            taken: list[str] = []
            posters = [
                asyncio.create_task(_post_some(client, f"{number}", acknowledged))
                for number, client in enumerate((owner, other) * _POSTERS)
            ]
            while not all(poster.done() for poster in posters) or len(taken) < len(acknowledged):
                found = await owner.posted("run")
                ids = [message.message_id for message in found]
                for message in found:
                    before = acknowledged[: int(message.data)]
                    assert set(before) <= {*taken, *ids[: ids.index(message.message_id)]}
                await owner.delete_posted("run", ids)
                taken += ids
                await asyncio.sleep(0)
            await asyncio.gather(*posters)
            assert (len(taken), sorted(taken)) == (2 * _POSTERS * _POSTS, sorted(acknowledged))
            assert not await other.posted("run")

    async def test_a_poster_and_the_owner_leave(self, storage_factory: StorageFactory) -> None:
        """What was posted stays for the next owner, whoever is closed meanwhile."""
        async with owned_run(storage_factory) as (storage, claim):
            async with await storage_factory() as other:
                await other.post("run", "a", b"one")
            await storage.release("run", claim.epoch)
            await storage.post("run", "b", b"")
        async with owned_run(storage_factory) as (storage, _):
            assert [(one.message_id, one.data) for one in await storage.posted("run")] == [
                ("a", b"one"),
                ("b", b""),
            ]

    async def test_posting_needs_a_run(self, storage_factory: StorageFactory) -> None:
        """Nothing is kept for a run that does not exist."""
        async with await storage_factory() as storage:
            with refused(NotFoundError):
                await storage.post("no such run", "m", b"")
            with refused(NotFoundError):
                await storage.posted("no such run")


async def _post_some(storage: StorageBackend, name: str, acknowledged: list[str]) -> None:
    """Post one after the other; each holds how many had been acknowledged when it was posted."""
    for number in range(_POSTS):
        message_id = f"{name}.{number}"
        assert await storage.post("run", message_id, b"%d" % len(acknowledged)) is True
        acknowledged.append(message_id)
