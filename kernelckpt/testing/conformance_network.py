"""Conformance of a storage that is reached over a connection: cut at any byte, silent, delayed, refused."""

# ruff: noqa: B023 - a call is made with the values of its round, before the next one begins

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from kernelckpt.abc import BlobInfo, Claim, StorageBackend
from kernelckpt.errors import (
    KernelCkptError,
    OwnershipError,
    StorageError,
    StorageUnavailableError,
    UnknownOutcomeError,
)
from kernelckpt.testing.cutting_proxy import Cut, CuttingProxy
from kernelckpt.testing.expect import (
    StorageFactory,
    append_some,
    check_entries,
    list_all,
    refused,
    write_blob,
)

Address: TypeAlias = tuple[str, int]
"""Host and port."""
Proxied: TypeAlias = Callable[[str, int], StorageFactory]
"""Makes a `storage_factory` whose clients reach the same store at another host and port."""

_BODY = b"a body of some length " * 5
_HOW: tuple[Literal["end"], Literal["reset"]] = ("end", "reset")


class CutOff(Struct, frozen=True):
    """What a call did whose connection was cut.

    Attributes:
        error: what it raised; None when it was acknowledged.
        result: what it returned.
    """

    error: KernelCkptError | None
    result: Any


class NetworkConformance:
    """For storages on servers, beside `StorageConformance`, with two more fixtures.

    `server_address` is the host and the port of the server. `proxied` is a function of a host and a port
    that returns a storage factory as `storage_factory` does, whose clients go there instead.

    Attributes:
        cut_every: cuts are so many bytes apart; 1 tries every byte.
        silence: seconds after which a call that gets no answer counts as hanging.
    """

    cut_every: int = 13
    silence: float = 60.0

    async def test_an_append_cut_off_anywhere(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """It is there whole or not at all, once; an error that is not about the outcome means: not there."""
        bodies: dict[int, bytes] = {}
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await storage.acquire("run", "the test")
            append = lambda: storage.append("run", claim.epoch, claim.head + 1, [_BODY], b"meta")  # noqa: E731
            async for off in self._cut(proxy, append):
                after = await storage.acquire("run", "the test")
                assert after.head - claim.head in _added(off.error)
                if after.head > claim.head:
                    bodies[after.head] = _BODY
                await check_entries(direct, bodies)
                claim = after

    async def test_a_blob_cut_off_anywhere(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """It is there whole or not at all, wherever a part or the finish was cut."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await storage.acquire("run", "the test")
            name = f"b{claim.epoch}"
            async for off in self._cut(proxy, lambda: write_blob(storage, claim, name, [_BODY, b"end"])):
                claim = await storage.acquire("run", "the test")
                found, whole = list(await direct.list_blobs("run")), [BlobInfo(name, len(_BODY) + 3)]
                assert found in ([whole, []] if off.error else [whole])
                if found:
                    assert await direct.read_blob("run", name) == _BODY + b"end"
                await storage.delete("run", claim.epoch, blobs=[name])
                name = f"b{claim.epoch}"

    async def test_a_deletion_cut_off_anywhere(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """Nothing else is deleted, doing it again finishes it, and the head stays."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await storage.acquire("run", "the test")
            await append_some(storage, claim, 2)
            await write_blob(storage, claim, "kept", [_BODY])
            entries = await list_all(storage)
            async for off in self._cut(proxy, lambda: storage.delete("run", claim.epoch, entries=entries)):
                assert off.error is None or isinstance(off.error, StorageError | OwnershipError)
                left = [entry.sequence for entry in await list_all(direct)]
                assert off.error is not None or left == []
                claim = await storage.acquire("run", "the test")
                assert claim.head == entries[-1].sequence
                await storage.delete("run", claim.epoch, entries=entries)
                assert not await list_all(direct)
                assert await direct.read_blob("run", "kept") == _BODY
                await append_some(storage, claim, 2)
                entries = await list_all(direct)

    async def test_an_acquire_cut_off_anywhere(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """The client may acquire again, is granted a higher epoch, and is the only owner."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            epoch = head = 0
            async for off in self._cut(proxy, lambda: storage.acquire("run", "the test")):
                assert off.error is None or isinstance(off.error, StorageError | OwnershipError)
                claim = await storage.acquire("run", "the test")
                assert (claim.epoch > epoch, claim.head) == (True, head)
                assert off.error is not None or claim.epoch > off.result.epoch
                await append_some(storage, claim, 1)
                with refused(OwnershipError):
                    await direct.acquire("run", "somebody else")
                epoch, head = claim.epoch, claim.head + 1

    async def test_a_post_cut_off_anywhere(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """The message is there once or not at all; posting it again puts it there once."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            await direct.acquire("run", "the test")
            await direct.post("run", "kept", b"")
            name = "m0"
            async for off in self._cut(proxy, lambda: storage.post("run", name, _BODY)):
                assert off.error is None or isinstance(off.error, StorageError)
                found = [message.message_id for message in await direct.posted("run")]
                assert found in ([["kept", name], ["kept"]] if off.error else [["kept", name]])
                await storage.post("run", name, _BODY)
                listed = await direct.posted("run")
                assert [message.message_id for message in listed] == ["kept", name]
                assert listed[-1].data == _BODY
                await direct.delete_posted("run", [name])  # else a post may read more from cut to cut
                name = f"m{int(name[1:]) + 1}"

    async def test_taking_messages_cut_off_anywhere(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """What was named goes, now or when it is done again; the others stay."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            await direct.acquire("run", "the test")
            await direct.post("run", "kept", b"")
            number = 0
            await direct.post("run", "m0", b"")
            async for off in self._cut(proxy, lambda: storage.delete_posted("run", [f"m{number}"])):
                found = [message.message_id for message in await direct.posted("run")]
                assert found in ([["kept", f"m{number}"], ["kept"]] if off.error else [["kept"]])
                await storage.delete_posted("run", [f"m{number}"])
                assert [message.message_id for message in await direct.posted("run")] == ["kept"]
                number += 1
                await direct.post("run", f"m{number}", b"")

    async def test_reading_cut_off_anywhere(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """What is read is right, or there is an error; never a part of it."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await direct.acquire("run", "the test")
            await append_some(direct, claim, 3)
            await write_blob(direct, claim, "b", [_BODY])
            await direct.post("run", "m", _BODY)
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: storage.list_entries("run"),
                lambda: storage.list_newest("run"),
                lambda: storage.read("run", claim.epoch, 2),
                lambda: storage.read_blob("run", "b"),
                lambda: storage.list_blobs("run"),
                lambda: storage.posted("run"),
                storage.list_runs,
            ]
            for call in calls:
                right = await call()
                async for off in self._cut(proxy, call):
                    assert off.result == right if off.error is None else isinstance(off.error, StorageError)
                    assert await call() == right

    async def test_an_append_cut_off_behind_its_last_byte(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """The server has all of it, the client no answer: no error says that it is not there when it is."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await storage.acquire("run", "the test")
            for how in _HOW:
                proxy.arm(Cut(pattern=b"the last words", how=how))
                error = await _error_of(
                    storage.append("run", claim.epoch, claim.head + 1, [b"these are the last words"], b"")
                )
                after = await storage.acquire("run", "the test")
                assert proxy.cut.is_set(), "entries are sent as they are"
                assert after.head - claim.head in _added(error)
                assert len(await list_all(direct)) == after.head
                claim = after

    async def test_a_delayed_append_of_an_old_owner(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """What arrives after a take-over is not acknowledged, and shown to nobody."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await storage.acquire("run", "the test")
            await append_some(storage, claim, 1)
            proxy.hold()
            late = asyncio.create_task(_error_of(storage.append("run", claim.epoch, 2, [b"late"], b"")))
            await proxy.waiting.wait()
            taken = await direct.acquire("run", "the next", takeover=True)
            assert taken.head == 1
            await direct.append("run", taken.epoch, 2, [b"entry 2"], b"")
            proxy.let_go()
            assert isinstance(await late, OwnershipError | UnknownOutcomeError)
            await append_some(direct, Claim(taken.epoch, 2), 1)
            await check_entries(direct, {number: b"entry %d" % number for number in (1, 2, 3)})
            await check_entries(storage, {number: b"entry %d" % number for number in (1, 2, 3)})

    async def test_a_silent_network(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """A call that gets no answer can be cancelled, and ends by itself; then the run goes on."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await storage.acquire("run", "the test")
            await append_some(storage, claim, 1)
            proxy.arm(Cut(up=0, how="silence"))
            async with asyncio.timeout(self.silence):
                call = asyncio.create_task(storage.append("run", claim.epoch, 2, [_BODY], b""))
                await proxy.cut.wait()
                call.cancel()
                with suppress(asyncio.CancelledError, KernelCkptError):
                    await call
            async with asyncio.timeout(self.silence):
                error = await _error_of(storage.append("run", claim.epoch, 2, [_BODY], b""))
                assert isinstance(error, StorageError | OwnershipError)
            async with asyncio.timeout(self.silence):
                assert isinstance(await _error_of(storage.list_runs()), StorageError)
            await proxy.mend()
            again = await storage.acquire("run", "the test")
            assert again.head == 1
            await append_some(storage, again, 1)
            await check_entries(direct, {1: b"entry 1", 2: b"entry 2"})

    async def test_a_server_that_cannot_be_reached(
        self, storage_factory: StorageFactory, server_address: Address, proxied: Proxied
    ) -> None:
        """Is told in time, with what to check; once it is back, the client goes on."""
        async with _through(server_address, proxied) as (proxy, storage), await storage_factory() as direct:
            claim = await storage.acquire("run", "the test")
            await append_some(storage, claim, 1)
            await proxy.refuse()
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: storage.list_entries("run"),
                lambda: storage.post("run", "m", b""),
                lambda: storage.acquire("run", "the test"),
                lambda: _open_and_use(proxied(proxy.host, proxy.port)),
            ]
            for call in calls:
                async with asyncio.timeout(self.silence):
                    with refused(StorageUnavailableError) as refusal:
                        await call()
                assert getattr(refusal.error, "hint", ""), "it says nothing of what to check"
            async with asyncio.timeout(self.silence):
                error = await _error_of(storage.append("run", claim.epoch, 2, [b"x"], b""))
            assert isinstance(error, StorageError | OwnershipError)
            await proxy.mend()
            again = await storage.acquire("run", "the test")
            assert (again.epoch > claim.epoch, again.head) == (True, 1)
            await append_some(storage, again, 1)
            await check_entries(direct, {1: b"entry 1", 2: b"entry 2"})

    async def _cut(self, proxy: CuttingProxy, call: Callable[[], Awaitable[object]]) -> AsyncIterator[CutOff]:
        """Make a call again and again, cut after more and more bytes, sent and then received."""
        for upward in (True, False):
            for number in count():
                place, how = number * self.cut_every, _HOW[number % 2]
                proxy.arm(Cut(up=place, how=how) if upward else Cut(down=place, how=how))
                off = CutOff(None, None)
                async with asyncio.timeout(self.silence):
                    try:
                        off = CutOff(None, await call())
                    except KernelCkptError as error:
                        off = CutOff(error, None)
                was_cut = proxy.cut.is_set()
                proxy.disarm()
                assert was_cut or off.error is None, f"nothing was cut, and it failed: {off.error}"
                yield off
                if not was_cut:
                    break


@asynccontextmanager
async def _through(
    server_address: Address, proxied: Proxied
) -> AsyncIterator[tuple[CuttingProxy, StorageBackend]]:
    """A proxy before the server, and a client that goes through it."""
    async with CuttingProxy(*server_address) as proxy:
        storage = await proxied(proxy.host, proxy.port)()
        try:
            yield proxy, storage
        finally:
            await proxy.mend()
            await storage.aclose()


def _added(error: KernelCkptError | None) -> tuple[int, ...]:
    """How many entries an append may have added that ended so."""
    if error is None:
        return (1,)
    return (0, 1) if isinstance(error, UnknownOutcomeError | OwnershipError) else (0,)


async def _error_of(call: Awaitable[object]) -> KernelCkptError | None:
    try:
        await call
    except KernelCkptError as error:
        return error
    return None


async def _open_and_use(factory: StorageFactory) -> None:
    async with await factory() as storage:
        await storage.list_runs()
