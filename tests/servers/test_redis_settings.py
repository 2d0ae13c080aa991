"""Which Redis servers are used, by whom, and what is said of them."""

import asyncio

import pytest
from redis_kit import numbers, write
from redis_server import RedisServer

from kernelckpt import open_storage
from kernelckpt.errors import (
    NotFoundError,
    StorageUnavailableError,
    UnsupportedVersionError,
)
from kernelckpt.storage.redis.storage import open_redis
from kernelckpt.storage.redis.url import parse_redis_url

pytestmark = pytest.mark.servers


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
    own_redis, redis_admin, settings, named, option
):
    for name, value in settings.items():
        redis_admin.config_set(name, value)
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_storage(own_redis.url())
    assert named in refusal.value.hint
    assert option in refusal.value.hint
    if option == "accept_loss=all":
        with pytest.raises(StorageUnavailableError):
            await open_storage(own_redis.url("&accept_loss=everysec"))
    async with await open_storage(own_redis.url(f"&{option}")) as storage:
        assert not storage.durable
        assert next(iter(settings)) in storage.notes[0]
        await write(storage, await storage.acquire("run", "test"), 3)
        assert await numbers(storage) == [1, 2, 3]


async def test_a_server_that_keeps_everything_is_durable_whatever_would_be_accepted(own_redis):
    for option in ("", "&accept_loss=everysec", "&accept_loss=all"):
        async with await open_storage(own_redis.url(option)) as storage:
            assert storage.durable
            assert storage.notes == ()


async def test_a_server_told_to_keep_everything_is_waited_for_until_it_does(own_redis, redis_admin):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        while (await asyncio.to_thread(redis_admin.info, "persistence"))["aof_rewrite_in_progress"]:
            await asyncio.sleep(0.01)

    redis_admin.config_set("appendonly", "no")
    redis_admin.mset({f"key {number}": "x" for number in range(1000)})
    redis_admin.config_set("rdb-key-save-delay", 500)  # so long the first rewrite takes for each key, in us
    redis_admin.config_set("appendonly", "yes")
    storage = await open_redis(own_redis.url(), sleep=sleep)
    assert storage.durable
    assert waits
    await storage.aclose()


async def test_a_server_that_throws_keys_away_is_refused(own_redis, redis_admin):
    for policy in ("allkeys-lru", "volatile-ttl"):
        redis_admin.config_set("maxmemory-policy", policy)
        with pytest.raises(StorageUnavailableError, match=f"maxmemory-policy is {policy}"):
            await open_storage(own_redis.url("&accept_loss=all"))


async def test_a_replica_is_refused(own_redis, tmp_path):
    (tmp_path / "replica").mkdir()
    replica = RedisServer(tmp_path / "replica", replicaof=f"127.0.0.1 {own_redis.port}")
    replica.start()
    try:
        with pytest.raises(StorageUnavailableError, match="replica"):
            await open_storage(replica.url())
    finally:
        replica.stop()


async def test_a_server_that_hides_its_settings_is_refused_unless_trusted(
    own_redis, redis_admin, monkeypatch
):
    redis_admin.acl_setuser(
        "me", enabled=True, passwords=["+s:e@cret"], keys=["*"], commands=["+@all", "-config"]
    )
    monkeypatch.setenv("REDIS_USERNAME", "me")
    monkeypatch.setenv("REDIS_PASSWORD", "s:e@cret")
    with pytest.raises(StorageUnavailableError, match="does not show") as refusal:
        await open_storage(own_redis.url())
    assert "assume_durable=1" in refusal.value.hint
    async with await open_storage(own_redis.url("&assume_durable=1")) as storage:
        assert storage.durable
        assert "not checked" in storage.notes[0]
        await write(storage, await storage.acquire("run", "test"), 1)


async def test_a_user_needs_few_rights(own_redis, redis_admin):
    commands = ["-@all", "+@read", "+@write", "+eval", "+evalsha", "+info", "+config|get"]
    redis_admin.acl_setuser("me", enabled=True, passwords=["+cret"], keys=["mine:*"], commands=commands)
    url = own_redis.url(prefix="mine").replace("//", "//me:cret@")
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


async def test_credentials_are_used_and_never_shown(own_redis, redis_admin):
    redis_admin.acl_setuser("me", enabled=True, passwords=["+s:e@cret"], keys=["*"], commands=["+@all"])
    redis_admin.acl_setuser("default", enabled=False)
    url = own_redis.url(prefix="mine").replace("//", "//me:s%3Ae%40cret@")
    async with await open_storage(url) as storage:
        await write(storage, await storage.acquire("run", "test"), 1)
        assert storage.name == own_redis.url(prefix="mine")
    assert "cret" not in repr(parse_redis_url(url))
    wrong = url.replace("s%3Ae%40cret", "another-s3cret")
    with pytest.raises(StorageUnavailableError, match="AuthenticationError") as refusal:
        await open_storage(wrong)
    assert "s3cret" not in f"{refusal.value!r} {refusal.value} {refusal.value.hint} {refusal.value.__cause__}"


async def test_a_server_that_is_not_there_is_unavailable(own_redis):
    own_redis.stop()
    with pytest.raises(StorageUnavailableError, match="onnect") as refusal:
        await open_storage(own_redis.url())
    assert "host, port" in refusal.value.hint


async def test_what_is_not_ours_is_not_touched(own_redis, redis_admin):
    redis_admin.set("other:layout", "a page")
    redis_admin.lpush("list:layout", "x")
    for prefix in ("other", "list"):
        with pytest.raises(StorageUnavailableError):
            await open_storage(own_redis.url(prefix=prefix))
    redis_admin.set("newer:layout", "2")
    with pytest.raises(UnsupportedVersionError) as refusal:
        await open_storage(own_redis.url(prefix="newer"))
    assert (refusal.value.found, refusal.value.supported) == (2, 1)
    assert redis_admin.dbsize() == 3


async def test_opening_and_looking_leave_no_trace(own_redis, redis_admin):
    async with await open_storage(own_redis.url()) as storage:
        assert await storage.list_runs() == []
        with pytest.raises(NotFoundError):
            await storage.list_entries("run")
    assert redis_admin.dbsize() == 0


async def test_many_begin_a_new_store_at_once(own_redis, redis_admin):
    url = own_redis.url(prefix="mine")
    clients = await asyncio.gather(*(open_storage(url) for _ in range(10)))
    await asyncio.gather(*(client.acquire(f"{number}", "x") for number, client in enumerate(clients)))
    assert len(await clients[0].list_runs()) == 10
    assert redis_admin.get("mine:layout") == b"1"
    for client in clients:
        await client.aclose()
