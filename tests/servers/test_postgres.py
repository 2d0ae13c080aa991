"""PostgreSQL beyond the contract: settings, roles, lost connections, killed servers, odd names."""

import asyncio
import json
import logging
import random
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from postgres_server import PROGRAMS, PostgresServer, postgres_cluster

from kernelckpt.errors import (
    CorruptionError,
    FencedError,
    NotFoundError,
    RunOwnedError,
    StorageUnavailableError,
    StorageUrlError,
    UnknownOutcomeError,
    UnsupportedVersionError,
)
from kernelckpt.storage.postgres.storage import open_postgres
from kernelckpt.testing import Cut, CuttingProxy

pytestmark = pytest.mark.servers

SECRET = "pa55-w0rd"


@pytest.fixture
def schema():
    return f"s{uuid.uuid4().hex}"


@pytest.fixture
def own_server():
    """A server that a test may restart."""
    with postgres_cluster() as server:
        yield server


@pytest.fixture
async def admin(postgres_server):
    connection = await connect(postgres_server)
    yield connection
    await connection.close()


async def connect(server):
    return await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{server.port}/postgres?sslmode=disable")


async def numbers(storage):
    return [entry.sequence for entry in await storage.list_entries("run")]


@asynccontextmanager
async def through_proxy(server, schema, **options):
    """A storage behind a proxy."""
    async with (
        CuttingProxy("127.0.0.1", server.port) as proxy,
        await open_postgres(server.url(schema, port=proxy.port, **options)) as storage,
    ):
        yield proxy, storage


async def until_locked(admin):
    """Wait until the server is at a statement, which waits for the administrator."""
    while not await admin.fetch("SELECT FROM pg_locks WHERE NOT granted"):
        pass


async def end_sessions(admin):
    """End the sessions of every client but the administrator."""
    await admin.fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )


# What is there when it is opened


async def test_many_first_opens_make_one_schema(postgres_server, schema):
    storages = await asyncio.gather(*(open_postgres(postgres_server.url(schema)) for _ in range(20)))
    for number, storage in enumerate(storages):
        await storage.acquire(f"run {number:02}", "the test")
    for storage in storages:
        assert len(await storage.list_runs()) == 20
        await storage.aclose()


async def test_a_newer_layout_is_refused(postgres_server, schema, admin):
    await (await open_postgres(postgres_server.url(schema))).aclose()
    await admin.execute(f"UPDATE {schema}.kernelckpt SET version = 2")
    with pytest.raises(UnsupportedVersionError) as refusal:
        await open_postgres(postgres_server.url(schema))
    assert (refusal.value.found, refusal.value.supported) == (2, 1)


@pytest.mark.parametrize(
    "made", ["CREATE TABLE {}.kernelckpt (ours boolean)", "CREATE TABLE {}.kernelckpt (version integer)"]
)
async def test_a_table_that_is_not_ours_is_refused(postgres_server, schema, admin, made):
    await admin.execute(f"CREATE SCHEMA {schema}; {made.format(schema)}")
    with pytest.raises(StorageUnavailableError, match="another"):
        await open_postgres(postgres_server.url(schema))


async def test_two_schemas_are_two_stores(postgres_server, schema):
    async with (
        await open_postgres(postgres_server.url(schema)) as one,
        await open_postgres(postgres_server.url(schema + "b")) as other,
    ):
        for storage in (one, other):  # whose locks must not be the same
            claim = await storage.acquire("run", "the test")
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
        assert one.name != other.name


async def test_a_role_that_may_not_create_uses_what_is_there(postgres_server, schema, admin):
    role = f"r{schema}"
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    url = postgres_server.url(schema, user=role)
    with pytest.raises(StorageUnavailableError, match="grant"):
        await open_postgres(url)
    await (await open_postgres(postgres_server.url(schema))).aclose()
    with pytest.raises(StorageUnavailableError, match="grant"):
        await open_postgres(url)
    await admin.execute(
        f"GRANT USAGE ON SCHEMA {schema} TO {role};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )
    async with await open_postgres(url) as storage:
        claim = await storage.acquire("run", "the test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        await storage.write_part("run", claim.epoch, "b", 0, [b"x"])
        await storage.finish_blob("run", claim.epoch, "b")
        assert await storage.post("run", "m", b"x")
        await storage.delete("run", claim.epoch, blobs=["b"])


async def test_what_cannot_be_connected_to(postgres_server):
    for url in (
        postgres_server.url(port=1, timeout=0.2),
        postgres_server.url(database="none"),
        postgres_server.url(user="nobody"),
    ):
        with pytest.raises(StorageUnavailableError) as refusal:
            await open_postgres(url)
        assert refusal.value.hint


# Settings


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_may_lose_is_refused(own_server, setting):
    own_server.settings = (*own_server.settings, f"{setting}=off")
    own_server.start()
    with pytest.raises(StorageUnavailableError, match=setting):
        await open_postgres(own_server.url())
    async with await open_postgres(own_server.url(accept_loss=1)) as storage:
        assert not storage.durable
        assert storage.notes
    own_server.stop()
    own_server.settings = PostgresServer.settings
    own_server.start()
    async with await open_postgres(own_server.url()) as storage:
        assert storage.durable
        assert not storage.notes


async def test_unlogged_tables_are_refused(postgres_server, schema, admin):
    await (await open_postgres(postgres_server.url(schema))).aclose()
    await admin.execute(f"ALTER TABLE {schema}.inbox SET UNLOGGED")
    with pytest.raises(StorageUnavailableError, match="inbox"):
        await open_postgres(postgres_server.url(schema))


@pytest.mark.parametrize(
    ("given", "used"), [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_commits_are_synchronous_whatever_the_role_is_given(
    postgres_server, schema, admin, given, used
):
    role = f"r{schema}"
    await admin.execute(
        f"CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET synchronous_commit = {given}"
    )
    async with await open_postgres(postgres_server.url(schema, user=role)) as storage:
        await storage.acquire("run", "the test")
        async with storage._session.turn() as line:
            assert await line.fetch("SHOW synchronous_commit") == [(used,)]
            assert await line.fetch("SHOW tcp_keepalives_idle") == [("10",)]


async def test_a_role_that_only_reads(postgres_server, schema, admin):
    async with await open_postgres(postgres_server.url(schema)) as storage:
        claim = await storage.acquire("run", "the test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
    role = f"r{schema}"
    await admin.execute(
        f"CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET default_transaction_read_only = on"
    )
    async with await open_postgres(postgres_server.url(schema, user=role)) as storage:
        assert await storage.read("run", claim.epoch, 1) == b"x"
        for call in (
            storage.acquire("run", "the test"),
            storage.post("run", "m", b""),
            storage.delete_posted("run", ["m"]),
            storage.delete_run("run"),
        ):
            with pytest.raises(StorageUnavailableError, match="takes no writes"):
                await call
    with pytest.raises(StorageUnavailableError, match="takes no writes"):
        await open_postgres(postgres_server.url(f"{schema}b", user=role))


async def test_a_read_replica_only_reads(own_server):
    own_server.start()
    async with await open_postgres(own_server.url()) as storage:
        claim = await storage.acquire("run", "the test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        replica = object.__new__(PostgresServer)
        super(PostgresServer, replica).__init__(own_server.folder / "replica")
        replica.data = replica.folder / "data"
        source = f"host=127.0.0.1 port={own_server.port} user=postgres"
        await asyncio.to_thread(copy_cluster, own_server, replica, source)
        try:
            async with await open_postgres(replica.url()) as copy:
                assert await copy.read("run", claim.epoch, 1) == b"x"
                with pytest.raises(StorageUnavailableError, match="takes no writes"):
                    await copy.acquire("run", "the test", takeover=True)
        finally:
            replica.stop()


def copy_cluster(server, replica, source):
    subprocess.run(["mkdir", replica.folder], check=True, **server.options())
    command = [PROGRAMS / "pg_basebackup", "-D", replica.data, "-d", source, "-R", "-c", "fast"]
    subprocess.run(command, check=True, **server.options())
    replica.start()


class Pooler(CuttingProxy):
    """Tells clients of a session that is none of the server's, as a pooler does."""

    async def _pass(self, connection, sink, direction, data):
        at = data.find(b"K\0\0\0\x0c") if direction == "down" else -1
        told = data if at < 0 else data[: at + 5] + b"\0\0\0\1" + data[at + 9 :]
        await super()._pass(connection, sink, direction, told)


async def test_a_pooler_between_is_noticed(postgres_server, schema):
    async with Pooler("127.0.0.1", postgres_server.port) as proxy:
        with pytest.raises(StorageUnavailableError, match="pooler"):
            await open_postgres(postgres_server.url(schema, port=proxy.port))
        url = postgres_server.url(schema, port=proxy.port, session_pooler=1)
        async with await open_postgres(url) as storage:
            await storage.acquire("run", "the test")


# Passwords


@pytest.fixture
async def guarded(own_server):
    """A server that asks the role `keeper` for a password."""
    hba = own_server.data / "pg_hba.conf"
    hba.write_text("host all keeper 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
    own_server.start()
    admin = await connect(own_server)
    await admin.execute(f"CREATE ROLE keeper LOGIN SUPERUSER PASSWORD '{SECRET}'")
    await admin.close()
    return own_server


async def test_a_password_comes_from_where_it_always_does_and_is_never_shown(
    guarded, monkeypatch, tmp_path, caplog
):
    caplog.set_level(logging.DEBUG)
    bare = guarded.url(user="keeper")
    in_url = guarded.url(user=f"keeper:{SECRET}")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    said = []
    for wrong in (
        bare,
        in_url.replace(SECRET, f"{SECRET}x"),
        guarded.url(user=f"keeper:{SECRET}", port=1, timeout=0.2),
    ):
        with pytest.raises(StorageUnavailableError) as refusal:
            await open_postgres(wrong)
        said.append(repr(refusal.value) + str(refusal.value) + repr(refusal.value.__cause__))
    async with await open_postgres(in_url) as storage:
        said += [storage.name, repr(storage), repr(vars(storage))]
    monkeypatch.setenv("PGPASSWORD", SECRET)
    await (await open_postgres(bare)).aclose()
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pass").write_text(f"*:*:*:keeper:{SECRET}\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pass"))
    await (await open_postgres(bare)).aclose()
    assert SECRET not in "".join(said) + caplog.text


# Connections that are lost


async def test_an_owner_whose_session_ended_goes_on(postgres_server, schema, admin):
    url = postgres_server.url(schema)
    async with await open_postgres(url) as storage, await open_postgres(url) as other:
        claim = await storage.acquire("run", "the test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        await end_sessions(admin)
        await storage.append("run", claim.epoch, 2, [b"x"], b"")
        with pytest.raises(RunOwnedError):
            await other.acquire("run", "somebody else")
        assert await numbers(other) == [1, 2]


async def test_an_owner_whose_session_ended_may_be_followed(postgres_server, schema, admin):
    url = postgres_server.url(schema)
    async with await open_postgres(url) as storage, await open_postgres(url) as other:
        claim = await storage.acquire("run", "the test")
        await end_sessions(admin)
        following = await other.acquire("run", "the next")
        for call in (
            storage.append("run", claim.epoch, 1, [b"x"], b""),
            storage.write_part("run", claim.epoch, "b", 0, [b"x"]),
            storage.finish_blob("run", claim.epoch, "b"),
            storage.delete("run", claim.epoch),
        ):
            with pytest.raises(FencedError):
                await call
        await other.append("run", following.epoch, 1, [b"x"], b"")


# Every answer is cut somewhere, that to a first statement as well as that to a commit.
CUTS = [("up", left) for left in (0, 1, 40, 150, 400)] + [("down", left) for left in range(0, 330, 11)]


async def test_every_call_but_an_append_outlives_a_cut(postgres_server, schema):
    async with through_proxy(postgres_server, schema) as (proxy, storage):
        claim = await storage.acquire("run", "the test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        cuts = 0
        for number, (way, left) in enumerate(CUTS):
            name = f"{way} {left}"
            calls = [
                lambda name=name: storage.post("run", name, b"x"),
                lambda name=name: storage.write_part("run", claim.epoch, name, 0, [b"x" * 300]),
                lambda name=name: storage.write_part("run", claim.epoch, name, 1, [b"y" * 300]),
                lambda name=name: storage.finish_blob("run", claim.epoch, name),
            ]
            if number % 5 == 0:
                calls += [
                    lambda: storage.list_entries("run"),
                    lambda: storage.read("run", claim.epoch, 1),
                    lambda: storage.delete("run", claim.epoch, blobs=["none"]),
                ]
            for call in calls:
                proxy.arm(Cut(**{way: left}))
                assert await call() is not False
                cuts += proxy.cut.is_set()
            assert await storage.read_blob("run", name) == b"x" * 300 + b"y" * 300
        assert cuts > 80
        proxy.disarm()
        names = [message.message_id for message in await storage.posted("run")]
        assert sorted(names) == sorted(blob.name for blob in await storage.list_blobs("run"))
        proxy.arm(Cut(down=0))
        again = await storage.acquire("run", "the test")
        assert (again.epoch > claim.epoch, again.head) == (True, 1)


async def test_a_part_that_comes_after_a_take_over_is_never_finished(postgres_server, schema, admin):
    url = postgres_server.url(schema)
    async with await open_postgres(url) as storage, await open_postgres(url) as other:
        claim = await storage.acquire("run", "the test")
        taken = await other.acquire("run", "the next", takeover=True)
        await admin.execute(
            f"INSERT INTO {schema}.blobs (run, epoch, name, parts, size) "
            f"SELECT id, {claim.epoch}, 'b', 1, 0 FROM {schema}.runs"
        )
        with pytest.raises(FencedError):
            await storage.finish_blob("run", claim.epoch, "b")
        assert not await other.list_blobs("run")
        await other.delete("run", taken.epoch)
        assert not await admin.fetch(f"SELECT FROM {schema}.blobs")


async def test_an_owner_that_froze_within_a_part_is_not_waited_for(postgres_server, schema, admin):
    url = postgres_server.url(schema, timeout=0.5)
    async with await open_postgres(url) as storage, await open_postgres(url) as other:
        claim = await storage.acquire("run", "the test")
        await storage.write_part("run", claim.epoch, "b", 0, [b"x"])
        async with admin.transaction():
            await admin.execute(
                f"UPDATE {schema}.blobs SET parts = 2;"
                f"INSERT INTO {schema}.blobs (run, epoch, name, parts, size) "
                f"SELECT id, {claim.epoch}, 'c', 1, 0 FROM {schema}.runs"
            )
            taken = await other.acquire("run", "the next", takeover=True)
            await other.append("run", taken.epoch, 1, [b"x"], b"")
            await other.delete("run", taken.epoch)
        assert len(await admin.fetch(f"SELECT FROM {schema}.blobs")) == 2
        await other.delete("run", taken.epoch)
        assert not await admin.fetch(f"SELECT FROM {schema}.blobs")


async def test_appends_under_cuts_are_in_the_table_exactly_as_acknowledged(postgres_server, schema, admin):
    chance = random.Random(7)
    acknowledged, doubts, cuts = [], {True: 0, False: 0}, 0
    async with through_proxy(postgres_server, schema) as (proxy, storage):
        claim = await storage.acquire("run", "the test")
        while len(acknowledged) < 300:
            if chance.random() < 0.5:
                cuts += proxy.cut.is_set()
                proxy.arm(Cut(**{chance.choice(["up", "down"]): chance.randrange(600)}))
            sequence, body = len(acknowledged) + 1, chance.randbytes(chance.randrange(400))
            try:
                await storage.append("run", claim.epoch, sequence, [body], b"")
            except UnknownOutcomeError:
                there = bool(await storage.list_entries("run", after=sequence - 1))
                doubts[there] += 1
                if not there:
                    continue
            acknowledged.append((sequence, claim.epoch, body))
    rows = await admin.fetch(f"SELECT sequence, epoch, data FROM {schema}.entries ORDER BY sequence")
    assert [tuple(row) for row in rows] == acknowledged
    assert min(doubts.values()) > 10
    assert cuts > 60


async def test_what_is_in_doubt_is_over_before_it_is_listed(postgres_server, schema, admin):
    async with through_proxy(postgres_server, schema) as (proxy, storage):
        claim = await storage.acquire("run", "the test")
        async with admin.transaction():
            await admin.fetch(f"SELECT FROM {schema}.runs FOR UPDATE")
            append = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"late"], b""))
            await until_locked(admin)
            await proxy.refuse()
            with pytest.raises(UnknownOutcomeError):
                await append
            await proxy.mend()
            assert await numbers(storage) == []
        assert await numbers(storage) == []
        await storage.append("run", claim.epoch, 1, [b"again"], b"")
        assert await storage.read("run", claim.epoch, 1) == b"again"


async def test_what_no_standby_has_is_not_listed_to_its_owner(own_server):
    own_server.start()
    admin = await connect(own_server)
    async with await open_postgres(own_server.url(timeout=0.5)) as storage:
        claim = await storage.acquire("run", "the test")
        await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await reload(admin, "nobody")
        held = await first_in_doubt(storage, claim.epoch)
        with pytest.raises(StorageUnavailableError):
            await storage.list_entries("run")
        await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await reload(admin, "")
        assert await numbers(storage) == list(range(1, held + 1))
        await storage.append("run", claim.epoch, held + 1, [b"x"], b"")
    await admin.close()


async def first_in_doubt(storage, epoch):
    """The number of the first entry that waits for a standby: each process reads settings in its own time."""
    sequence = 1
    with suppress(UnknownOutcomeError):
        while True:
            await storage.append("run", epoch, sequence, [b"x"], b"")
            sequence += 1
    return sequence


async def reload(admin, names):
    """Have the server read its settings, and wait until it has."""
    await admin.fetch("SELECT pg_reload_conf()")
    while await admin.fetchval("SHOW synchronous_standby_names") != names:
        pass


async def test_a_server_that_does_not_answer(postgres_server, schema):
    url = postgres_server.url(schema)
    async with (
        await open_postgres(url) as other,
        through_proxy(postgres_server, schema, timeout=0.5) as (proxy, storage),
    ):
        claim = await storage.acquire("run", "the test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        proxy.arm(Cut(up=0, how="silence"))
        with pytest.raises(UnknownOutcomeError):
            await storage.append("run", claim.epoch, 2, [b"x"], b"")
        for call in (storage.list_runs(), storage.append("run", claim.epoch, 2, [b"x"], b"")):
            with pytest.raises(StorageUnavailableError):
                await call
        with pytest.raises(RunOwnedError):
            await other.acquire("run", "somebody else")
        await proxy.mend()
        await storage.append("run", claim.epoch, 2, [b"x"], b"")
        assert await numbers(other) == [1, 2]


async def test_what_the_server_gives_up_is_not_there(postgres_server, schema, admin):
    async with await open_postgres(postgres_server.url(schema, timeout=0.5)) as storage:
        claim = await storage.acquire("run", "the test")
        async with admin.transaction():
            await admin.fetch(f"SELECT FROM {schema}.runs FOR UPDATE")
            with pytest.raises(StorageUnavailableError, match="timeout"):
                await storage.append("run", claim.epoch, 1, [b"x"], b"")
        assert await numbers(storage) == []
        await storage.append("run", claim.epoch, 1, [b"x"], b"")


async def test_a_run_that_goes_while_something_is_posted(postgres_server, schema, admin):
    async with await open_postgres(postgres_server.url(schema)) as storage:
        claim = await storage.acquire("run", "the test")
        await storage.release("run", claim.epoch)
        async with admin.transaction():
            await admin.execute(f"DELETE FROM {schema}.runs")
            post = asyncio.create_task(storage.post("run", "m", b"x"))
            await until_locked(admin)
        with pytest.raises(NotFoundError):
            await post


async def test_a_cancelled_append_is_made_whole(postgres_server, schema, admin):
    async with await open_postgres(postgres_server.url(schema)) as storage:
        claim = await storage.acquire("run", "the test")
        async with admin.transaction():
            await admin.fetch(f"SELECT FROM {schema}.runs FOR UPDATE")
            append = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"x"], b""))
            await asyncio.sleep(0)
            append.cancel()
            with pytest.raises(asyncio.CancelledError):
                await append
        await storage.append("run", claim.epoch, 2, [b"y"], b"")
        assert await numbers(storage) == [1, 2]


async def test_closing_ends_a_call_that_the_server_does_not_answer(
    postgres_server, schema, admin, monkeypatch
):
    monkeypatch.setattr("kernelckpt.storage.postgres.storage._CLOSE_SECONDS", 0.2)
    storage = await open_postgres(postgres_server.url(schema))
    claim = await storage.acquire("run", "the test")
    async with admin.transaction():
        await admin.fetch(f"SELECT FROM {schema}.runs FOR UPDATE")
        append = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"x"], b""))
        await until_locked(admin)
        await storage.aclose()
        with pytest.raises(StorageUnavailableError, match="closed"):
            await append


async def test_a_killed_server_loses_nothing_that_was_acknowledged(own_server):
    own_server.start()
    acknowledged = 0
    async with await open_postgres(own_server.url()) as storage:
        claim = await storage.acquire("run", "the test")
        for _ in range(4):
            kill = None
            for number in range(120):
                if number == 60:
                    kill = asyncio.create_task(asyncio.to_thread(restart, own_server))
                try:
                    await storage.append("run", claim.epoch, acknowledged + 1, [b"%d" % acknowledged], b"")
                except (UnknownOutcomeError, StorageUnavailableError):
                    await kill
                    found = await storage.list_entries("run", after=acknowledged)
                    assert len(found) <= 1
                    acknowledged += len(found)
                else:
                    acknowledged += 1
            await kill
        assert await numbers(storage) == list(range(1, acknowledged + 1))
        for number in range(acknowledged):
            assert await storage.read("run", claim.epoch, number + 1) == b"%d" % number


def restart(server):
    server.kill()
    server.start()


# Names, and what else is odd


async def test_names_are_any_text(postgres_server, schema):
    odd = ["nul\0inside", "lone \ud800 surrogate", "\udcff", "x" * 5000, "'; DROP TABLE runs; --", "ü"]
    url = postgres_server.url(schema)
    async with await open_postgres(url) as storage, await open_postgres(url) as other:
        for name in odd:
            claim = await storage.acquire(name, name)
            await storage.append(name, claim.epoch, 1, [name.encode("utf-8", "surrogatepass")], b"")
            await storage.write_part(name, claim.epoch, name, 0, [b"x"])
            await storage.finish_blob(name, claim.epoch, name)
            assert await storage.post(name, name, b"x")
            with pytest.raises(RunOwnedError) as refusal:
                await other.acquire(name, "somebody else")
            assert refusal.value.holder == name
            assert [blob.name for blob in await other.list_blobs(name)] == [name]
            assert [message.message_id for message in await other.posted(name)] == [name]
            await storage.delete_posted(name, [name])
            await storage.delete(name, claim.epoch, blobs=[name])
            assert not await other.list_blobs(name)
            assert not await other.posted(name)
        assert await other.list_runs() == sorted(odd)


async def test_a_schema_of_any_name(postgres_server, schema):
    name = f'odd "{schema[:20]}", x'
    url = postgres_server.url(name.replace('"', "%22").replace(" ", "%20").replace(",", "%2C"))
    for _ in range(2):
        async with await open_postgres(url) as storage:
            await storage.acquire("run", "the test")
            assert await storage.list_runs() == ["run"]


async def test_a_range_of_a_blob_reads_no_more(postgres_server, schema, admin):
    async with await open_postgres(postgres_server.url(schema)) as storage:
        claim = await storage.acquire("run", "the test")
        data = [b"".join(b"%08d" % (part * 375_000 + at) for at in range(375_000)) for part in range(4)]
        for number, part in enumerate(data):
            await storage.write_part("run", claim.epoch, "b", number, [part])
        await storage.finish_blob("run", claim.epoch, "b")
        await storage.append("run", claim.epoch, 1, [data[0]], b"")
        whole = b"".join(data)
        assert await storage.read_blob("run", "b") == whole
        assert await storage.read_blob("run", "b", offset=2_999_990, length=20) == whole[2_999_990:3_000_010]
        before = await outlying_blocks(storage, schema)
        assert await storage.read_blob("run", "b", offset=7_000_000, length=100) == whole[7_000_000:7_000_100]
        found = await storage.read("run", claim.epoch, 1, offset=1_000_000, length=100)
        assert found == data[0][1_000_000:1_000_100]
        read = await outlying_blocks(storage, schema) - before
        assert 0 < read <= 8


async def test_a_blob_beyond_two_gigabytes(postgres_server, schema, admin):
    skipped = 3 * 2**30
    async with await open_postgres(postgres_server.url(schema)) as storage:
        claim = await storage.acquire("run", "the test")
        await storage.write_part("run", claim.epoch, "b", 0, [b"a" * 100])
        await storage.write_part("run", claim.epoch, "b", 1, [b"b" * 100])
        await admin.execute(f"UPDATE {schema}.blobs SET size = size + {skipped}")
        await admin.execute(f"UPDATE {schema}.pieces SET start = start + {skipped} WHERE part = 1")
        await storage.write_part("run", claim.epoch, "b", 2, [b"c" * 2_000_000])
        assert (await storage.finish_blob("run", claim.epoch, "b")).size == skipped + 2_000_200
        assert await storage.read_blob("run", "b", offset=skipped + 190, length=20) == b"b" * 10 + b"c" * 10
        assert await storage.read_blob("run", "b", offset=skipped + 200) == b"c" * 2_000_000
        with pytest.raises(CorruptionError):
            await storage.read_blob("run", "b", offset=0, length=200)


async def outlying_blocks(storage, schema):
    """How often a block of 8 KB was looked at that holds data kept apart from their rows."""
    async with storage._readers.line() as line:  # the one that reads: it is asked to tell its counts
        await line.fetch("SELECT pg_stat_force_next_flush()")
        (row,) = await line.fetch(
            "SELECT sum(pg_stat_get_blocks_fetched(reltoastrelid))::integer AS blocks FROM pg_class "
            f"WHERE oid IN ('{schema}.pieces'::regclass, '{schema}.entries'::regclass)"
        )
        return row["blocks"]


async def test_numbers_beyond_those_of_the_server(postgres_server, schema):
    far = 10**30
    async with await open_postgres(postgres_server.url(schema)) as storage:
        claim = await storage.acquire("run", "the test")
        await storage.append("run", claim.epoch, 1, [b"abc"], b"")
        await storage.write_part("run", claim.epoch, "b", 0, [b"abc"])
        await storage.finish_blob("run", claim.epoch, "b")
        for number in (far, -far):
            with pytest.raises(FencedError):
                await storage.append("run", claim.epoch, number, [b"x"], b"")
            with pytest.raises(NotFoundError):
                await storage.read("run", number, number)
        assert await numbers(storage) == [1]
        assert not await storage.list_entries("run", after=far, limit=far)
        assert len(await storage.list_newest("run", limit=far)) == 1
        for offset, length, found in ((far, far, b""), (1, far, b"bc"), (far, None, b"")):
            assert await storage.read("run", claim.epoch, 1, offset=offset, length=length) == found
            assert await storage.read_blob("run", "b", offset=offset, length=length) == found


async def test_an_option_that_does_not_exist(postgres_server):
    with pytest.raises(StorageUrlError, match=r"no option 'shema'.*schema"):
        await open_postgres(postgres_server.url(shema="x"))


def test_importing_the_package_does_not_import_the_driver():
    program = "import sys, json, kernelckpt.storage, kernelckpt; print(json.dumps('asyncpg' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
