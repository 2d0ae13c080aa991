"""What can happen to a Redis server and to those who use it: nothing acknowledged is lost silently."""

import asyncio
import os
import shutil
import signal
import warnings

import pytest
from redis_server import RedisServer

from kernelckpt import open_storage
from kernelckpt.abc import Claim
from kernelckpt.errors import (
    CorruptionError,
    FencedError,
    InvalidValueError,
    NotFoundError,
    RunOwnedError,
    StorageFullError,
    StorageUnavailableError,
    UnknownOutcomeError,
    UnsupportedVersionError,
)
from kernelckpt.storage import redis_owner
from kernelckpt.storage.redis import RedisStorage
from kernelckpt.storage.redis_key import RunKeys
from kernelckpt.storage.redis_removal import sweep
from kernelckpt.storage.redis_server import RedisServer as Connections
from kernelckpt.storage.redis_setting import Verdict
from kernelckpt.storage.redis_url import parse_redis_url

pytestmark = pytest.mark.servers

KEYS = RunKeys("mine", "run")


@pytest.fixture
def own_server(tmp_path):
    """A server that a test may change, stop and kill."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
def admin(own_server):
    with own_server.admin() as client:
        yield client


def direct(server, *, seconds=10.0, **options):
    """A client that tries nothing again, of the store of prefix "mine"."""
    connections = Connections(parse_redis_url(server.url(prefix="mine")), seconds=seconds)
    return RedisStorage(connections, "mine", Verdict(durable=True), **options)


async def until(condition):
    """Wait for something that the server does by itself."""
    while not condition():
        await asyncio.sleep(0.01)


async def write(storage, claim, count):
    for number in range(claim.head + 1, claim.head + count + 1):
        await storage.append("run", claim.epoch, number, [b"entry %d" % number], b"%d" % number)


async def numbers(storage):
    return [entry.sequence for entry in await storage.list_entries("run", limit=100_000)]


class Ticks:
    """Stands for the time between renewals: it passes when the test says so."""

    def __init__(self):
        self.begun = asyncio.Semaphore(0)
        self.passed = asyncio.Semaphore(0)

    async def sleep(self, _seconds):
        self.begun.release()
        await self.passed.acquire()

    async def one(self):
        """Let one renewal happen, and return when it is done."""
        await self.begun.acquire()
        self.passed.release()
        await self.begun.acquire()
        self.begun.release()


@pytest.mark.parametrize(
    ("settings", "named", "option"),
    [
        ({"appendonly": "no"}, "CONFIG SET appendonly yes", "accept_loss=all"),
        ({"appendfsync": "everysec"}, "CONFIG SET appendfsync always", "accept_loss=everysec"),
        ({"appendfsync": "no"}, "CONFIG SET appendfsync always", "accept_loss=all"),
        (
            {"no-appendfsync-on-rewrite": "yes"},
            "CONFIG SET no-appendfsync-on-rewrite no",
            "accept_loss=all",
        ),
    ],
)
async def test_a_server_that_would_lose_something_is_refused_unless_that_is_accepted(
    own_server, admin, settings, named, option
):
    for name, value in settings.items():
        admin.config_set(name, value)
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_storage(own_server.url())
    assert named in refusal.value.hint
    assert option in refusal.value.hint
    if option == "accept_loss=all":
        with pytest.raises(StorageUnavailableError):
            await open_storage(own_server.url("&accept_loss=everysec"))
    async with await open_storage(own_server.url(f"&{option}")) as storage:
        assert not storage.durable
        assert next(iter(settings)) in storage.notes[0]
        await write(storage, await storage.acquire("run", "test"), 3)
        assert await numbers(storage) == [1, 2, 3]


async def test_a_server_that_keeps_everything_is_durable_whatever_would_be_accepted(own_server):
    for option in ("", "&accept_loss=everysec", "&accept_loss=all"):
        async with await open_storage(own_server.url(option)) as storage:
            assert storage.durable
            assert storage.notes == ()


async def test_a_server_that_throws_keys_away_is_refused(own_server, admin):
    for policy in ("allkeys-lru", "volatile-ttl"):
        admin.config_set("maxmemory-policy", policy)
        with pytest.raises(StorageUnavailableError, match=f"maxmemory-policy is {policy}"):
            await open_storage(own_server.url("&accept_loss=all"))


async def test_a_replica_is_refused(own_server, tmp_path):
    (tmp_path / "replica").mkdir()
    replica = RedisServer(tmp_path / "replica", replicaof=f"127.0.0.1 {own_server.port}")
    replica.start()
    try:
        with pytest.raises(StorageUnavailableError, match="replica"):
            await open_storage(replica.url())
    finally:
        replica.stop()


async def test_a_server_that_hides_its_settings_is_refused_unless_trusted(own_server, admin, monkeypatch):
    admin.acl_setuser("me", enabled=True, passwords=["+s:e@cret"], keys=["*"], commands=["+@all", "-config"])
    monkeypatch.setenv("REDIS_USERNAME", "me")
    monkeypatch.setenv("REDIS_PASSWORD", "s:e@cret")
    with pytest.raises(StorageUnavailableError, match="does not show") as refusal:
        await open_storage(own_server.url())
    assert "assume_durable=1" in refusal.value.hint
    async with await open_storage(own_server.url("&assume_durable=1")) as storage:
        assert storage.durable
        assert "not checked" in storage.notes[0]
        await write(storage, await storage.acquire("run", "test"), 1)


async def test_a_forked_child_does_not_talk_over_its_parents_connections(own_server):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, about threads
            child = os.fork()
        if not child:
            try:
                storage.append("run", claim.epoch, 1, [b"of the child"], b"").send(None)
            except StorageUnavailableError:
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        await storage.append("run", claim.epoch, 1, [b"of the parent"], b"")


async def test_a_server_restored_from_an_older_copy_is_noticed_by_the_owner(own_server, tmp_path):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        shutil.copytree(own_server.folder / "appendonlydir", tmp_path / "copy")
        await write(storage, Claim(claim.epoch, 3), 2)
        own_server.kill()
        shutil.rmtree(own_server.folder / "appendonlydir")
        shutil.copytree(tmp_path / "copy", own_server.folder / "appendonlydir")
        own_server.start()
        with pytest.raises(FencedError, match="is at entry 3, though entry 5 had been acknowledged"):
            await append_patiently(storage, claim.epoch, 6)
        assert await numbers(storage) == [1, 2, 3]


async def append_patiently(storage, epoch, sequence):
    """Append, once more if the connection was cut before."""
    try:
        await storage.append("run", epoch, sequence, [b"x"], b"")
    except UnknownOutcomeError:
        await storage.append("run", epoch, sequence, [b"x"], b"")


async def test_a_user_needs_few_rights(own_server, admin):
    commands = ["-@all", "+@read", "+@write", "+eval", "+evalsha", "+info", "+config|get"]
    admin.acl_setuser("me", enabled=True, passwords=["+cret"], keys=["mine:*"], commands=commands)
    url = own_server.url(prefix="mine").replace("//", "//me:cret@")
    async with await open_storage(url) as storage:
        assert storage.durable
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 2)
        await storage.write_part("run", claim.epoch, "blob", 0, [b"part"])
        await storage.finish_blob("run", claim.epoch, "blob")
        await storage.post("run", "message", b"x")
        assert len(await storage.list_newest("run")) == 2
        assert await storage.read("run", claim.epoch, 1, offset=100) == b""
        assert await storage.read_blob("run", "blob") == b"part"
        await storage.delete("run", claim.epoch, entries=await storage.list_entries("run"), blobs=["blob"])
        await storage.delete_posted("run", ["message"])
        await storage.release("run", claim.epoch)
        assert await storage.list_runs() == ["run"]
        await storage.delete_run("run")
    with pytest.raises(StorageUnavailableError, match="NoPermissionError"):
        await open_storage(url.replace("mine", "others"))


async def test_credentials_are_used_and_never_shown(own_server, admin):
    admin.acl_setuser("me", enabled=True, passwords=["+s:e@cret"], keys=["*"], commands=["+@all"])
    admin.acl_setuser("default", enabled=False)
    url = own_server.url(prefix="mine").replace("//", "//me:s%3Ae%40cret@")
    async with await open_storage(url) as storage:
        await write(storage, await storage.acquire("run", "test"), 1)
        assert storage.name == own_server.url(prefix="mine")
    assert "cret" not in repr(parse_redis_url(url))
    wrong = url.replace("s%3Ae%40cret", "another-s3cret")
    with pytest.raises(StorageUnavailableError, match="AuthenticationError") as refusal:
        await open_storage(wrong)
    assert "s3cret" not in f"{refusal.value!r} {refusal.value} {refusal.value.hint} {refusal.value.__cause__}"


async def test_a_server_that_is_not_there_is_unavailable(own_server):
    own_server.stop()
    with pytest.raises(StorageUnavailableError, match="onnect") as refusal:
        await open_storage(own_server.url())
    assert "host, port" in refusal.value.hint


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(own_server):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        kept = {}
        for number in range(1, 6):
            loop = asyncio.get_running_loop()
            kill = loop.run_in_executor(None, own_server.kill) if number > 1 else None
            sequence = claim.head + 1
            while True:
                body = b"%d of round %d" % (sequence, number)
                try:
                    await storage.append("run", claim.epoch, sequence, [body], b"")
                except (UnknownOutcomeError, StorageUnavailableError):
                    break
                kept[sequence] = body
                if kill is None:
                    kill = loop.run_in_executor(None, own_server.kill)
                sequence += 1
            await kill
            await loop.run_in_executor(None, own_server.start)
            claim = await storage.acquire("run", "test")
            assert claim.head in (len(kept), len(kept) + 1)
            entries = await storage.list_entries("run", limit=100_000)
            assert [entry.sequence for entry in entries] == list(range(1, claim.head + 1))
            for entry in entries:
                read = await storage.read("run", entry.epoch, entry.sequence)
                assert read == kept.setdefault(entry.sequence, read)
        assert kept


async def test_idle_connections_that_were_cut_are_made_anew(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        for number in range(1, 6):
            admin.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: admin.info("clients")["connected_clients"] == 1)
            await asyncio.sleep(0)  # the event loop hears of it
            await asyncio.sleep(0)
            await storage.append("run", claim.epoch, number, [b"x"], b"")
        assert await numbers(storage) == [1, 2, 3, 4, 5]


async def test_an_append_whose_answer_is_cut_off_has_an_unknown_outcome(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        admin.client_pause(60_000, all=False)
        append = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"x"], b""))
        await until(lambda: admin.info("clients")["blocked_clients"] == 1)
        admin.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(UnknownOutcomeError):
            await append
        admin.client_unpause()
        assert await numbers(storage) == []
        await storage.append("run", claim.epoch, 1, [b"x"], b"")


async def test_a_server_that_hangs_is_waited_for_only_so_long(own_server):
    async with direct(own_server, seconds=0.3) as storage:
        claim = await storage.acquire("run", "test")
        own_server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(UnknownOutcomeError, match="Timeout"):
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
        with pytest.raises(StorageUnavailableError, match="Timeout"):
            await storage.list_entries("run")
        own_server.process.send_signal(signal.SIGCONT)
        again = await storage.acquire("run", "test")
        assert await numbers(storage) == list(range(1, again.head + 1))
        await storage.append("run", again.epoch, again.head + 1, [b"y"], b"")


async def test_full_memory_is_said_changes_nothing_and_lets_room_be_made(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        await storage.write_part("run", claim.epoch, "blob", 0, [b"p" * 100_000])
        admin.config_set("maxmemory", "1mb")
        for attempt in (
            storage.append("run", claim.epoch, 4, [b"x" * 1000], b""),
            storage.write_part("run", claim.epoch, "blob", 1, [b"x"]),
            storage.finish_blob("run", claim.epoch, "blob"),
            storage.post("run", "message", b"x"),
            storage.acquire("another run", "test"),
        ):
            with pytest.raises(StorageFullError):
                await attempt
        assert await numbers(storage) == [1, 2, 3]
        await storage.delete("run", claim.epoch, entries=(await storage.list_entries("run"))[:2])
        admin.config_set("maxmemory", "0")
        await storage.append("run", claim.epoch, 4, [b"x"], b"")
        assert (await storage.finish_blob("run", claim.epoch, "blob")).size == 100_000
        assert await storage.list_runs() == ["run"]
        admin.config_set("maxmemory", "1mb")
        await storage.release("run", claim.epoch)
        await storage.delete_run("run")
        assert admin.keys("mine:*") == []


async def test_an_owner_is_alive_as_long_as_it_is_heard_of(own_server, admin):
    ticks = Ticks()
    async with direct(own_server, sleep=ticks.sleep) as storage, direct(own_server) as other:
        claim = await storage.acquire("run", "the first")
        admin.pexpire(KEYS.alive, 5000)
        await ticks.one()
        assert admin.pttl(KEYS.alive) > redis_owner.ALIVE_MS - 5000
        with pytest.raises(RunOwnedError, match="the first"):
            await other.acquire("run", "the second")
        await write(storage, claim, 1)


async def test_an_owner_that_was_not_heard_of_is_fenced_by_the_next_one(own_server, admin):
    ticks = Ticks()
    async with direct(own_server, sleep=ticks.sleep) as storage, direct(own_server) as other:
        claim = await storage.acquire("run", "the first")
        await write(storage, claim, 2)
        admin.delete(KEYS.alive)  # as after twenty seconds in which its loop was blocked
        taken = await other.acquire("run", "the second")
        assert taken == Claim(claim.epoch + 1, 2)
        await ticks.one()
        with pytest.raises(FencedError):
            await storage.append("run", claim.epoch, 3, [b"late"], b"")
        with pytest.raises(RunOwnedError, match="the second"):
            await storage.acquire("run", "the first")
        await other.release("run", taken.epoch)
        admin.config_resetstat()
        await ticks.one()
        assert not admin.exists(KEYS.alive)
        assert "cmdstat_evalsha" not in admin.info("commandstats"), "what was lost is not renewed"


async def test_an_owner_not_heard_of_goes_on_if_nobody_took_over(own_server, admin):
    ticks = Ticks()
    async with direct(own_server, sleep=ticks.sleep) as storage, direct(own_server) as other:
        claim = await storage.acquire("run", "the first")
        admin.delete(KEYS.alive)
        await write(storage, claim, 1)
        await ticks.one()
        with pytest.raises(RunOwnedError):
            await other.acquire("run", "the second")


async def test_an_emptied_server_is_noticed_by_the_owner(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        admin.flushall()
        for number in (4, 1):
            with pytest.raises(FencedError, match="entry 3 had been acknowledged"):
                await storage.append("run", claim.epoch, number, [b"x"], b"")
        with pytest.raises(FencedError, match="is not there any more"):
            await storage.delete("run", claim.epoch)
        assert admin.keys("mine:*") == []


async def test_a_server_that_fell_back_is_noticed_by_the_owner(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        admin.hset(KEYS.run, "head", 2)  # as a replica has it that was behind
        with pytest.raises(FencedError, match="is at entry 2, though entry 3 had been acknowledged"):
            await storage.append("run", claim.epoch, 4, [b"x"], b"")
        with pytest.raises(FencedError, match="is at entry 2, though entry 3 had been acknowledged"):
            await storage.acquire("run", "test")
        assert not admin.exists(KEYS.alive), "whoever knows better may have it"
        admin.hset(KEYS.run, "epoch", 0)
        with pytest.raises(FencedError, match="is at epoch 0"):
            await storage.append("run", claim.epoch, 4, [b"x"], b"")


async def test_a_copy_goes_on_only_where_the_run_ends(own_server):
    async with direct(own_server) as storage:
        await storage.acquire_as("run", "test", Claim(7, 3))
        await storage.append("run", 7, 4, [b"x"], b"")
        for behind in (Claim(6, 4), Claim(7, 3), Claim(8, 0)):
            with pytest.raises(InvalidValueError, match="epoch 7, entry 4"):
                await storage.acquire_as("run", "test", behind)
        await storage.acquire_as("run", "test", Claim(7, 4))
        assert await storage.acquire("run", "test") == Claim(8, 4)
        with pytest.raises(FencedError):
            await storage.append("run", 7, 5, [b"x"], b"")


async def test_a_run_deleted_and_made_anew_by_others_is_no_loss(own_server):
    async with direct(own_server) as storage, direct(own_server) as other:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        await storage.release("run", claim.epoch)
        await other.delete_run("run")
        assert await storage.acquire("run", "test") == Claim(1, 0)


async def test_a_deletion_that_was_cut_off_is_finished_by_the_next_one(own_server, admin, monkeypatch):
    async def cut_off(*_):
        raise StorageUnavailableError("cut off")

    async with direct(own_server) as storage:
        for ending in (storage.acquire, storage.delete_run):
            claim = await storage.acquire("run", "test")
            await write(storage, claim, 3)
            await storage.post("run", "message", b"x")
            await storage.write_part("run", claim.epoch, "begun", 0, [b"part"])
            for name in ("blob", "other"):
                await storage.write_part("run", claim.epoch, name, 0, [b"part"])
                await storage.finish_blob("run", claim.epoch, name)
            await storage.release("run", claim.epoch)
            with monkeypatch.context() as patch:
                patch.setattr("kernelckpt.storage.redis.sweep", cut_off)
                with pytest.raises(StorageUnavailableError):
                    await storage.delete_run("run")
            assert await storage.list_runs() == []
            with pytest.raises(NotFoundError):
                await storage.list_entries("run")
            with pytest.raises(NotFoundError):
                await storage.post("run", "message", b"x")
            if ending == storage.acquire:
                claim = await storage.acquire("run", "test")
                assert claim == Claim(1, 0)
                assert not await numbers(storage)
                assert not await storage.posted("run")
                assert not await storage.list_blobs("run")
                await storage.release("run", claim.epoch)
            else:
                await storage.delete_run("run")
                assert admin.keys("mine:*") == []


async def test_a_large_run_is_deleted_in_small_steps(own_server, admin):
    count = 3 * 500 + 1
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, count)
        await storage.release("run", claim.epoch)
        admin.config_resetstat()
        await storage.delete_run("run")
        assert admin.info("commandstats")["cmdstat_xdel"]["calls"] == 4
        assert admin.keys("mine:*") == []


async def test_a_long_listing_is_asked_for_in_pages(own_server, admin):
    async with direct(own_server) as storage:
        await write(storage, await storage.acquire("run", "test"), 2100)
        for limit in (999, 1000, 1001, 2000, 2100, 2101, 9999):
            admin.config_resetstat()
            entries = await storage.list_entries("run", after=50, limit=limit)
            assert [entry.sequence for entry in entries] == list(range(51, min(50 + limit, 2100) + 1))
            assert admin.info("commandstats")["cmdstat_xrange"]["calls"] == -(-min(limit, 2050) // 1000)
        newest = [entry.sequence for entry in await storage.list_newest("run", limit=9999)]
        assert newest == list(range(1101, 2101))


async def test_whoever_deletes_a_run_slowly_leaves_the_next_one_of_that_name_alone(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 2)
        await storage.release("run", claim.epoch)
        (seen, born) = (admin.xrange(KEYS.entries), admin.hget(KEYS.run, "born"))
        await storage.delete_run("run")
        await write(storage, await storage.acquire("run", "test"), 2)

        class Slow:
            async def ask(self, word, *rest):
                if word == "XRANGE":
                    return [(key, [b"i", fields[b"i"]]) for key, fields in seen]
                return await storage._server.ask(word, *rest)

            run = storage._server.run

        await sweep(Slow(), KEYS, born)
        assert await numbers(storage) == [1, 2]
        assert await storage.read("run", 1, 2) == b"entry 2"


async def test_a_released_run_is_written_to_by_nobody(own_server):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await storage.release("run", claim.epoch)
        with pytest.raises(FencedError):
            await storage.append("run", claim.epoch, 1, [b"x"], b"")


async def test_a_finished_blob_is_not_taken_for_an_unfinished_one(own_server):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await storage.write_part("run", claim.epoch, "blob", 0, [b"part"])
        await storage.finish_blob("run", claim.epoch, "blob")
        again = await storage.acquire("run", "test")
        await storage.delete("run", again.epoch)
        assert await storage.read_blob("run", "blob") == b"part"


async def test_what_a_dead_owner_left_of_blobs_goes_with_the_next_deletion(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        for index in range(3):
            await storage.write_part("run", claim.epoch, "begun", index, [b"part"])
        again = await storage.acquire("run", "test")
        await storage.write_part("run", again.epoch, "begun", 0, [b"another"])
        await storage.delete("run", again.epoch)
        assert admin.keys("mine:*part*") == [KEYS.part(again.epoch, b"begun", 0)]
        assert admin.hlen(KEYS.begun) == 1
        await storage.write_part("run", again.epoch, "thrown away", 0, [b"part"])
        await storage.delete("run", again.epoch, blobs=["thrown away"])
        with pytest.raises(NotFoundError, match="no part"):
            await storage.finish_blob("run", again.epoch, "thrown away")
        await storage.finish_blob("run", again.epoch, "begun")
        assert await storage.read_blob("run", "begun") == b"another"
        await storage.delete("run", again.epoch, blobs=["begun"])
        assert admin.keys("mine:*part*") == []


async def test_bytes_that_somebody_removed_are_damage(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 2)
        for index in range(2):
            await storage.write_part("run", claim.epoch, "blob", index, [b"part"])
        await storage.finish_blob("run", claim.epoch, "blob")
        admin.delete(KEYS.body(claim.epoch, 1), KEYS.part(claim.epoch, b"blob", 1))
        with pytest.raises(CorruptionError):
            await storage.read("run", claim.epoch, 1)
        with pytest.raises(CorruptionError):
            await storage.read_blob("run", "blob")
        assert await storage.read_blob("run", "blob", length=4) == b"part"
        assert await storage.read("run", claim.epoch, 2) == b"entry 2"
        admin.xadd(KEYS.entries, {"i": b"short"}, id="3-0")
        assert [bool(entry.damage) for entry in await storage.list_entries("run")] == [False, False, True]


async def test_a_server_that_forgot_the_scripts_is_told_again(own_server, admin):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        admin.script_flush()
        await write(storage, claim, 2)
        admin.script_flush()
        assert await numbers(storage) == [1, 2]


async def test_what_is_not_ours_is_not_touched(own_server, admin):
    admin.set("other:layout", "a page")
    admin.lpush("list:layout", "x")
    for prefix in ("other", "list"):
        with pytest.raises(StorageUnavailableError):
            await open_storage(own_server.url(prefix=prefix))
    admin.set("newer:layout", "2")
    with pytest.raises(UnsupportedVersionError) as refusal:
        await open_storage(own_server.url(prefix="newer"))
    assert (refusal.value.found, refusal.value.supported) == (2, 1)
    assert admin.dbsize() == 3


async def test_many_open_a_new_store_at_once(own_server):
    url = own_server.url()
    clients = await asyncio.gather(*(open_storage(url) for _ in range(10)))
    claims = await asyncio.gather(
        *(client.acquire(f"{number}", "x") for number, client in enumerate(clients))
    )
    assert len(await clients[0].list_runs()) == len(claims) == 10
    for client in clients:
        await client.aclose()


async def test_an_entry_that_redis_cannot_hold_is_refused_before_it_is_sent(own_server):
    async with direct(own_server) as storage:
        claim = await storage.acquire("run", "test")
        piece = bytes(1 << 20)
        with pytest.raises(InvalidValueError, match="536870912 fit"):
            await storage.append("run", claim.epoch, 1, [piece] * 513, b"")
