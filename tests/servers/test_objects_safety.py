"""Ownership in object stores: what late, stale and stopped owners may still try."""

import asyncio
from contextlib import suppress

import pytest

from kernelckpt.abc import Claim
from kernelckpt.errors import (
    DamagedRunsError,
    FencedError,
    InvalidValueError,
    NotFoundError,
    OwnershipError,
    RunOwnedError,
    StorageUnavailableError,
)
from kernelckpt.storage.objects.key import numbered, run_key
from kernelckpt.storage.objects.log import Log
from kernelckpt.storage.objects.storage import open_objects

pytestmark = pytest.mark.servers


@pytest.fixture
def url(object_server):
    return object_server.url(object_server.make_bucket())


async def append(storage, claim, *numbers):
    for number in numbers:
        await storage.append("run", claim.epoch, number, [b"%d" % number], b"")


async def listed(storage):
    return [(entry.epoch, entry.sequence) for entry in await storage.list_entries("run")]


@pytest.mark.parametrize("behind", [0, 1])
async def test_a_late_owner_finds_its_number_taken_although_it_was_deleted(url, behind):
    """It was stopped before it sent; meanwhile others wrote its number, went on, and deleted it."""
    async with await open_objects(url) as late, await open_objects(url) as owner:
        claim = await late.acquire("run", "the first")
        await append(late, claim, 1, 2)
        late._owned["run"].placeholder = None
        taken = await owner.acquire("run", "the next", takeover=True)
        await append(owner, taken, 3, 4, 5)
        await owner.delete("run", taken.epoch, entries=(await owner.list_entries("run"))[:4])
        late._owned["run"].head -= behind
        late._owned["run"].doubtful = bool(behind)
        with pytest.raises(FencedError):
            await late.append("run", claim.epoch, 3 - behind, [b"void"], b"")
        assert await listed(owner) == [(taken.epoch, 5)]
        await append(owner, taken, 6)


async def test_everything_deleted_by_an_owner_who_never_listed_it(url):
    """It asks the entries themselves which numbers must stay taken."""
    async with await open_objects(url) as late, await open_objects(url) as owner:
        claim = await late.acquire("run", "the first")
        await append(late, claim, 1, 2)
        second = await owner.acquire("run", "the second", takeover=True)
        await append(owner, second, 3, 4)
        entries = await owner.list_entries("run")
        async with await open_objects(url) as third:
            taken = await third.acquire("run", "the third", takeover=True)
            await append(third, taken, 5)
            await third.delete(
                "run", taken.epoch, entries=[*entries, *await late.list_entries("run", after=4)]
            )
            with pytest.raises(FencedError):
                await append(late, claim, 3)
            with pytest.raises(FencedError):
                await append(owner, second, 5)
            assert await listed(third) == []
            await append(third, taken, 6)
            assert await listed(third) == [(taken.epoch, 6)]


@pytest.mark.parametrize("gone", [False, True])
async def test_the_last_number_of_an_owner_stays_taken_though_what_followed_was_never_seen(url, gone):
    """Be what followed still there, or deleted by somebody else."""
    async with await open_objects(url) as late, await open_objects(url) as owner:
        claim = await late.acquire("run", "the first")
        await append(late, claim, 1, 2)
        second = await owner.acquire("run", "the second", takeover=True)
        await append(owner, second, 3, 4)
        if gone:
            await owner.delete("run", second.epoch, entries=await owner.list_entries("run", after=2, limit=1))
        async with await open_objects(url) as third:
            taken = await third.acquire("run", "the third", takeover=True)
            entries = await third.list_entries("run", limit=2)
            await third.delete("run", taken.epoch, entries=entries)
            late._owned["run"].head, late._owned["run"].doubtful = 1, True
            with pytest.raises(FencedError):
                await append(late, claim, 2)
            assert await listed(third) == [(second.epoch, 3), (second.epoch, 4)][gone:]


async def test_the_last_number_before_a_copy_stays_taken(url):
    async with await open_objects(url) as late, await open_objects(url) as copy:
        claim = await late.acquire("run", "the first")
        await append(late, claim, 1, 2)
        owned = late._owned["run"]
        await late.release("run", claim.epoch)
        await copy.acquire_as("run", "the copy", Claim(7, 40))
        await append(copy, Claim(7, 40), 41)
        await copy.delete("run", 7, entries=await copy.list_entries("run", limit=2))
        owned.head, owned.doubtful, late._owned["run"] = 1, True, owned
        with pytest.raises(FencedError):
            await append(late, claim, 2)
        assert await listed(copy) == [(7, 41)]


async def test_damaged_entries_that_are_deleted_keep_their_numbers_taken(url):
    """Nobody can tell any more whether an owner may still contend for them."""
    async with await open_objects(url) as late, await open_objects(url) as owner:
        claim = await late.acquire("run", "the first")
        await append(late, claim, 1, 2)
        late._owned["run"].placeholder = None
        second = await owner.acquire("run", "the second", takeover=True)
        await append(owner, second, 3, 4)
        for number in (3, 4):
            await owner._client.overwrite(numbered(owner._owned["run"].log.folder, number), b"?" * 100)
        async with await open_objects(url) as third:
            taken = await third.acquire("run", "the third", takeover=True)
            assert (taken.head, taken.epoch > second.epoch) == (4, True)
            await append(third, taken, 5)
            await third.delete("run", taken.epoch, entries=(await third.list_entries("run"))[:4])
            with pytest.raises(FencedError):
                await append(late, claim, 3)
            assert await listed(third) == [(taken.epoch, 5)]


async def test_a_stale_look_at_the_tail_gives_no_run(url, monkeypatch):
    """Between its look and its placeholder the owner went on, and deleted the number it is put at."""
    async with await open_objects(url) as owner, await open_objects(url) as stale:
        claim = await owner.acquire("run", "the owner")
        await append(owner, claim, 1, 2)
        looks = []
        look = Log.tail

        async def tail(log):
            found = await look(log)
            if not looks:
                looks.append(found)
                await append(owner, claim, 3, 4, 5)
                await owner.delete("run", claim.epoch, entries=(await owner.list_entries("run"))[:4])
            return found

        monkeypatch.setattr(Log, "tail", tail)
        taken = await stale.acquire("run", "the next", takeover=True)
        assert looks[0].head == 2
        assert taken.head == 5
        with pytest.raises(FencedError):
            await append(owner, claim, 6)
        await append(stale, taken, 6)
        assert await listed(stale) == [(claim.epoch, 5), (taken.epoch, 6)]


async def test_races_for_a_run(url):
    """Sixteen clients take it from each other: each number is acknowledged once, and is there."""
    clients = [await open_objects(url) for _ in range(16)]
    acknowledged = {}

    async def write(client, name):
        try:
            claim = await client.acquire("run", name, takeover=True)
            for number in range(claim.head + 1, claim.head + 4):
                body = f"{name}, {number}".encode()
                await client.append("run", claim.epoch, number, [body], b"")
                assert number not in acknowledged
                acknowledged[number] = body
                if number % 3 == 0:
                    entries = await client.list_entries("run")
                    await client.delete("run", claim.epoch, entries=entries[:-2])
        except OwnershipError:
            pass

    for turn in range(3):
        await asyncio.gather(*(write(client, f"{turn}/{place}") for place, client in enumerate(clients)))
    entries = await clients[0].list_entries("run")
    assert entries
    for entry in entries:
        body = await clients[1].read("run", entry.epoch, entry.sequence)
        assert acknowledged.get(entry.sequence, body) == body
    assert entries[-1].sequence >= max(acknowledged)
    for client in clients:
        await client.aclose()


async def test_a_copy_goes_on_under_its_own_numbers(url):
    async with await open_objects(url) as copy, await open_objects(url) as late:
        before = await late.acquire("run", "somebody")
        await append(late, before, 1)
        await late.release("run", before.epoch)
        await copy.acquire_as("run", "the copy", Claim(7, 40))
        with pytest.raises(FencedError):
            await append(late, before, 2)
        await append(copy, Claim(7, 40), 41, 42)
        assert await listed(copy) == [(before.epoch, 1), (7, 41), (7, 42)]
        with pytest.raises(InvalidValueError):
            await copy.acquire_as("run", "the copy", Claim(6, 42))
        with pytest.raises(InvalidValueError):
            await copy.acquire_as("run", "the copy", Claim(7, 41))
        again = await copy.acquire("run", "the owner")
        assert (again.epoch > 7, again.head) == (True, 42)


async def test_a_copy_that_died_between_its_two_placeholders_is_gone_on_from(url, monkeypatch):
    async with await open_objects(url) as copy, await open_objects(url) as following:
        claims = []
        claim = Log.claim

        async def one_claim(log, *args):
            claims.append(args)
            if len(claims) == 2:
                raise StorageUnavailableError("the process ends here")
            return await claim(log, *args)

        monkeypatch.setattr(Log, "claim", one_claim)
        with pytest.raises(StorageUnavailableError):
            await copy.acquire_as("run", "the copy", Claim(7, 40))
        monkeypatch.undo()
        taken = await following.acquire("run", "the next", takeover=True)
        assert (taken.epoch > 7, taken.head) == (True, 40)
        await append(following, taken, 41)
        assert await listed(following) == [(taken.epoch, 41)]


async def test_a_deletion_that_was_interrupted(url, monkeypatch):
    """The run cannot be read any more, is still listed, and can be deleted again, or begun anew."""
    for goes_on in ("deleted", "begun anew"):
        async with await open_objects(url) as storage:
            claim = await storage.acquire("run", "the owner")
            assert claim.head == 0
            await append(storage, claim, 1, 2)
            await storage.post("run", "m", b"")
            await storage.release("run", claim.epoch)

            async def dies(keys):
                raise StorageUnavailableError("the process ends here")

            with monkeypatch.context() as patch:
                patch.setattr(storage._client, "delete", dies)
                with pytest.raises(StorageUnavailableError):
                    await storage.delete_run("run")
        async with await open_objects(url) as storage:
            assert await storage.list_runs() == ["run"]
            for call in (storage.list_entries("run"), storage.posted("run"), storage.post("run", "n", b"")):
                with pytest.raises(NotFoundError):
                    await call
            if goes_on == "deleted":
                await storage.delete_run("run")
                assert await storage.list_runs() == []
                assert await storage._client.page("runs") == []
            else:
                anew = await storage.acquire("run", "the next")
                assert (anew.head, await listed(storage), await storage.posted("run")) == (0, [], [])


async def test_a_deletion_that_did_not_begin_may_be_tried_again(url, monkeypatch):
    async with await open_objects(url) as storage:
        claim = await storage.acquire("run", "the owner")
        await append(storage, claim, 1)
        await storage.release("run", claim.epoch)

        async def fails(*args):
            raise StorageUnavailableError("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(storage._runs, "doom", fails)
            with pytest.raises(StorageUnavailableError):
                await storage.delete_run("run")
        assert await listed(storage) == [(claim.epoch, 1)]
        await storage.delete_run("run")
        assert await storage.list_runs() == []


async def test_a_run_whose_object_is_damaged_hides_no_other(url):
    async with await open_objects(url) as storage:
        for run in ("a", "b b", "c"):
            await storage.acquire(run, "the owner")
        for run in ("b b", "c"):
            await storage._client.overwrite(f"runs/{run_key(run)}/run", b"x" * 200)
        with pytest.raises(DamagedRunsError, match="its header is damaged") as caught:
            await storage.list_runs()
        assert caught.value.runs == ["a"]
        assert set(caught.value.damaged) == {run_key("b b"), "c"}, "by its id where that can be known"
        assert await storage.list_entries("a") == []


@pytest.mark.parametrize("interrupted", [False, True])
async def test_a_run_whose_object_is_damaged_is_deleted_once_nobody_owns_it(url, monkeypatch, interrupted):
    async with await open_objects(url) as owner, await open_objects(url) as other:
        await other.acquire("run 2", "somebody")
        claim = await owner.acquire("run", "the owner")
        await append(owner, claim, 1, 2)
        await owner._client.overwrite(f"runs/{run_key('run')}/run", b"x" * 200)
        with pytest.raises(RunOwnedError, match="the owner"):
            await other.delete_run("run")
        await append(owner, claim, 3)
        await owner.release("run", claim.epoch)
        if interrupted:
            with monkeypatch.context() as patch:
                patch.setattr(other._client, "delete", never_done)
                with pytest.raises(StorageUnavailableError):
                    await other.delete_run("run")
            assert await other.list_runs() == ["run", "run 2"]
        await other.delete_run("run")
        assert await other.list_runs() == ["run 2"]
        assert await other._client.page(f"runs/{run_key('run')}") == []
        assert (await owner.acquire("run", "anew")).head == 0


async def never_done(keys):
    raise StorageUnavailableError("the process ends here")


async def test_a_release_after_the_run_was_deleted_leaves_nothing_behind(url):
    async with await open_objects(url) as late, await open_objects(url) as other:
        claim = await late.acquire("run", "the first")
        taken = await other.acquire("run", "the next", takeover=True)
        await other.release("run", taken.epoch)
        await other.delete_run("run")
        await late.release("run", claim.epoch)
        assert await other._client.page("runs") == []


async def test_a_bucket_is_shared_by_prefixes_of_any_name(object_server):
    bucket = object_server.make_bucket()
    urls = [
        object_server.url(f"{bucket}/{prefix}")
        for prefix in ("a", "a/b", "%C3%BC%20x~y", "100%25", "a=b+c", "")
    ]
    for url in urls:
        async with await open_objects(url) as storage:
            claim = await storage.acquire("run", "the owner")
            await append(storage, claim, 1, 2)
            await storage.write_part("run", claim.epoch, "blob", 0, [b"x"])
            await storage.finish_blob("run", claim.epoch, "blob")
            await storage.post("run", "m", b"")
    for url in urls:
        async with await open_objects(url) as storage:
            claim = await storage.acquire("run", "the next")
            assert (claim.head, await storage.list_runs()) == (2, ["run"])
            assert len(await storage.posted("run")) == len(await storage.list_blobs("run")) == 1
            await storage.delete(
                "run", claim.epoch, entries=await storage.list_entries("run"), blobs=["blob"]
            )
            assert (await listed(storage), await storage.list_blobs("run")) == ([], [])
            await storage.release("run", claim.epoch)
            await storage.delete_run("run")


async def test_a_late_owner_does_not_reach_a_run_begun_anew(url):
    async with await open_objects(url) as late, await open_objects(url) as storage:
        claim = await late.acquire("run", "the first")
        await append(late, claim, 1, 2)
        owned = late._owned["run"]
        await late.release("run", claim.epoch)
        await storage.delete_run("run")
        anew = await storage.acquire("run", "the next")
        late._owned["run"] = owned
        with suppress(FencedError):
            await append(late, claim, 3)
        await append(storage, anew, 1)
        assert await listed(storage) == [(anew.epoch, 1)]


async def test_posted_messages_keep_their_order_and_their_ids_whoever_deletes(url):
    async with await open_objects(url) as one, await open_objects(url) as other:
        await one.acquire("run", "the owner")
        orders = []
        for turn in range(5):
            await one.post("run", f"a{turn}", b"")
            await other.post("run", f"b{turn}", b"")
            found = await other.posted("run")
            assert [message.message_id for message in found] == [f"a{turn}", f"b{turn}"]
            orders += [message.order for message in found]
            await (one if turn % 2 else other).delete_posted("run", [f"a{turn}", f"b{turn}"])
            assert await one.posted("run") == await other.posted("run") == []
        assert orders == sorted(set(orders))
        kept = await one._client.page(f"{(await one._place('run')).folder}/inbox")
        assert len(kept) == 1


async def test_equal_posts_race_with_deletions(url):
    clients = [await open_objects(url) for _ in range(4)]
    await clients[0].acquire("run", "the owner")
    for turn in range(5):
        posts = (client.post("run", f"m{turn}", b"") for client in clients)
        *said, _ = await asyncio.gather(*posts, clients[0].delete_posted("run", [f"m{turn - 1}"]))
        assert sorted(said) == [False, False, False, True]
        assert [message.message_id for message in await clients[1].posted("run")] == [f"m{turn}"]
    for client in clients:
        await client.aclose()


async def test_a_blob_of_a_very_long_name_and_one_written_again(url):
    name = "\ud800ü" * 300
    async with await open_objects(url) as storage:
        for turn in (b"one", b"two"):
            claim = await storage.acquire("run", "the owner")
            await storage.write_part("run", claim.epoch, name, 0, [turn])
            claim = await storage.acquire("run", "the owner")
            await storage.write_part("run", claim.epoch, name, 0, [turn])
            info = await storage.finish_blob("run", claim.epoch, name)
            assert list(await storage.list_blobs("run")) == [info]
            assert await storage.read_blob("run", name) == turn
            await storage.delete("run", claim.epoch, blobs=[name])
            assert list(await storage.list_blobs("run")) == []
