"""Redis without a server: what URLs, settings and answers mean."""

import asyncio

import pytest
from redis.exceptions import BusyLoadingError, ResponseError

from kernelckpt import open_storage
from kernelckpt.errors import (
    StorageFullError,
    StorageUnavailableError,
    StorageUrlError,
    UnknownOutcomeError,
)
from kernelckpt.storage.redis.key import RunKeys
from kernelckpt.storage.redis.record import part_ranges
from kernelckpt.storage.redis.script import APPEND
from kernelckpt.storage.redis.server import RedisServer
from kernelckpt.storage.redis.setting import judge_server, look_at_server
from kernelckpt.storage.redis.url import parse_redis_url
from kernelckpt.storage.text import bytes_text, text_bytes

INFO = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction"}
KEEPS = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    monkeypatch.delenv("REDIS_USERNAME", raising=False)
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)


def test_a_url_says_where_the_server_is():
    url = parse_redis_url("redis://host")
    assert (url.host, url.port, url.db, url.tls, url.prefix) == ("host", 6379, 0, False, "kernelckpt")
    assert (url.username, url.password, url.accept_loss, url.assume_durable) == (None, None, "", False)
    url = parse_redis_url("rediss://me:a%40b@[::1]:7000/3?prefix=x:y&accept_loss=all&ssl_ca_certs=/ca.pem")
    assert (url.host, url.port, url.db, url.tls, url.prefix) == ("::1", 7000, 3, True, "x:y")
    assert (url.username, url.password, url.accept_loss, url.ssl_ca_certs) == ("me", "a@b", "all", "/ca.pem")
    assert url.name == "rediss://[::1]:7000/3?prefix=x:y"


@pytest.mark.parametrize(("given", "seconds"), [("", 10), ("?timeout=0.25", 0.25), ("?timeout=20", 20)])
def test_a_url_says_how_long_an_answer_is_waited_for(given, seconds):
    assert parse_redis_url(f"redis://host{given}").timeout == seconds


def test_credentials_come_from_the_environment_when_the_url_has_none(monkeypatch):
    monkeypatch.setenv("REDIS_USERNAME", "me")
    monkeypatch.setenv("REDIS_PASSWORD", "s3cret")
    url = parse_redis_url("redis://host")
    assert (url.username, url.password) == ("me", "s3cret")
    assert parse_redis_url("redis://you:other@host").password == "other"
    assert "s3cret" not in f"{url} {url!r} {url.name}"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis:", "no host"),
        ("redis://:s3cret@", "no host"),
        ("redis://:s3cret@host:port", "host or port"),
        ("redis://me:s3cret/x@host", "host or port"),
        ("redis://me:12?s3cret@host", "an option cannot be read"),
        ("redis://host#s3cret", "'#' is no part of it"),
        ("redis://:s3cret@host:99999", "host or port"),
        ("redis://:s3cret@[host", "host or port"),
        ("redis://:s3cret@host/name", "number of a database"),
        ("redis://:s3cret@host/0/1", "number of a database"),
        ("redis://:s3cret@host?db=3", "no option 'db'"),
        ("redis://:s3cret@host?prefix=", "prefix cannot be ''"),
        ("redis://:s3cret@host?prefix={x}", "prefix cannot be"),
        ("redis://:s3cret@host?accept_loss=yes", "accept_loss cannot be 'yes'"),
        ("redis://:s3cret@host?assume_durable=yes", "assume_durable cannot be"),
        ("redis://:s3cret@host?timeout=0", "timeout cannot be '0'"),
        ("redis://:s3cret@host?timeout=inf", "timeout cannot be 'inf'"),
        ("redis://:s3cret@host?ssl_ca_certs=x", "ssl_ca_certs is an option of rediss"),
    ],
)
async def test_a_url_that_cannot_be_used_is_refused_without_showing_credentials(url, reason):
    with pytest.raises(StorageUrlError, match=reason) as refusal:
        await open_storage(url)
    assert "s3cret" not in f"{refusal.value}"
    assert refusal.value.__cause__ is None
    assert "accept_loss=everysec" in refusal.value.hint


@pytest.mark.parametrize("run_id", ["run", "{a}b{c}", "}", "{", "a\0b", "\udcff", "ü" * 300, "%7B", "a:run"])
def test_all_keys_of_a_run_hash_to_one_slot(run_id):
    keys = RunKeys("prefix", run_id)
    names = [keys.run, keys.alive, keys.entries, keys.body(1, 2), keys.part(1, b"}{", 0)]
    tags = {
        name.partition(b"{")[2].partition(b"}")[0] for name in names
    }  # as the cluster's specification has it
    assert len(tags) == 1
    assert tags != {b""}
    assert len(set(names)) == len(names)
    assert bytes_text(text_bytes(run_id)) == run_id


def test_runs_do_not_share_keys():
    ids = ["a", "A", "a:", "{a}", "%61", "a}", " a", "a\0", "ä", "a\u0308"]
    assert len({RunKeys("prefix", run_id).run for run_id in ids}) == len(ids)


@pytest.mark.parametrize("length", [None, 0, 1, 3, 10, 99])
@pytest.mark.parametrize("offset", range(12))
def test_a_range_of_a_blob_is_cut_out_of_its_parts(offset, length):
    parts = [b"012", b"", b"3", b"456789"]
    ranges = part_ranges([len(part) for part in parts], offset, length)
    found = b"".join(parts[index][first:behind] for index, first, behind in ranges)
    assert found == (b"0123456789"[offset:] if length is None else b"0123456789"[offset : offset + length])


class Telling:
    """A server that only says what it is."""

    name = "redis://told"

    def __init__(self, info=None, config=KEEPS):
        self.info = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction"} | (
            info or {}
        )
        self.config = config

    async def ask(self, word, *_):
        if word == "INFO":
            return "\r\n".join(
                ["# Server", *(f"{name}:{value}" for name, value in self.info.items())]
            ).encode()
        if self.config is None:
            raise StorageUnavailableError("NoPermissionError: no")
        return [word.encode() for pair in self.config.items() for word in pair]


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"redis_version": "6.0.20"}, "it is Redis 6.0.20"),
        ({"redis_version": "5.0"}, "it is Redis 5.0"),
        ({"role": "slave"}, "replica"),
        ({"cluster_enabled": "1"}, "cluster"),
        ({"maxmemory_policy": "allkeys-lfu"}, "maxmemory-policy is allkeys-lfu"),
    ],
)
async def test_a_server_of_another_kind_is_refused_whatever_is_accepted(info, reason):
    url = parse_redis_url("redis://told?accept_loss=all&assume_durable=1")
    for config in (KEEPS, None):
        with pytest.raises(StorageUnavailableError, match=reason):
            await judge_server(Telling(info, config), url)


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.2.1", "10.0.0"])
async def test_versions_that_are_new_enough(version):
    assert (await judge_server(Telling({"redis_version": version}), parse_redis_url("redis://told"))).durable


@pytest.mark.parametrize("name", KEEPS)
async def test_a_setting_that_is_not_told_is_not_taken_for_right(name):
    told = Telling(config={other: value for other, value in KEEPS.items() if other != name})
    with pytest.raises(StorageUnavailableError, match=f"{name} is missing"):
        await judge_server(told, parse_redis_url("redis://told?assume_durable=1"))


async def test_a_server_that_does_not_say_what_it_evicts_must_be_trusted():
    told = Telling()
    del told.info["maxmemory_policy"]
    with pytest.raises(StorageUnavailableError, match="does not show"):
        await judge_server(told, parse_redis_url("redis://told"))
    assert (await judge_server(told, parse_redis_url("redis://told?assume_durable=1"))).notes


async def test_a_loss_of_a_second_is_not_one_of_a_whole_rewrite():
    config = KEEPS | {"appendfsync": "everysec"}
    url = parse_redis_url("redis://told?accept_loss=everysec")
    assert not (await judge_server(Telling(config=config), url)).durable
    with pytest.raises(StorageUnavailableError, match="no-appendfsync-on-rewrite is yes"):
        await judge_server(Telling(config=config | {"no-appendfsync-on-rewrite": "yes"}), url)


BEGINNING = {"aof_base_size": "0", "aof_last_bgrewrite_status": "ok", "aof_rewrite_in_progress": "0"}


@pytest.mark.parametrize(
    ("info", "keeps"),
    [
        ({}, True),
        ({"aof_rewrite_in_progress": "1"}, False),
        ({"aof_rewrite_scheduled": "1"}, False),
        ({"aof_last_bgrewrite_status": "err"}, False),
        ({"aof_rewrite_in_progress": "1", "aof_base_size": "88"}, True),
    ],
)
async def test_a_server_that_begins_its_file_keeps_nothing_yet(info, keeps):
    told = Telling(BEGINNING | info)
    if not keeps:
        with pytest.raises(StorageUnavailableError, match="being begun"):
            await judge_server(told, parse_redis_url("redis://told?accept_loss=everysec"))
    verdict = await judge_server(told, parse_redis_url("redis://told?accept_loss=all"))
    assert (verdict.durable, bool(verdict.notes)) == (keeps, not keeps)


async def test_trust_is_not_needed_where_settings_are_shown():
    verdict = await judge_server(Telling(), parse_redis_url("redis://told?assume_durable=1"))
    assert (verdict.durable, verdict.notes) == (True, ())


class Loading:
    """A server that has loaded what it keeps after so many questions."""

    name = "redis://loading"

    def __init__(self, questions, answer="LOADING Redis is loading the dataset in memory"):
        self.left = questions
        self.answer = answer

    async def ask(self, word, *rest):
        if word != "GET":
            return await Telling().ask(word, *rest)
        if self.left:
            self.left -= 1
            error = BusyLoadingError(self.answer) if "LOADING" in self.answer else ResponseError(self.answer)
            raise StorageUnavailableError(self.answer) from error
        return b"1"


async def test_a_server_that_still_loads_is_waited_for_but_not_for_ever():
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    url = parse_redis_url("redis://loading")
    assert (await look_at_server(Loading(3), url, sleep)).durable
    assert waits == [1.0] * 3
    with pytest.raises(StorageUnavailableError, match="LOADING"):
        await look_at_server(Loading(1000), url, sleep)
    assert len(waits) == 3 + 59
    with pytest.raises(StorageUnavailableError, match="BUSY"):
        await look_at_server(Loading(1, "BUSY running a script"), url, sleep)
    assert len(waits) == 3 + 59


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("LOADING Redis is loading the dataset in memory", StorageUnavailableError),
        ("BUSY Redis is busy running a script.", StorageUnavailableError),
        ("MASTERDOWN Link with MASTER is down", StorageUnavailableError),
        ("READONLY You can't write against a read only replica.", StorageUnavailableError),
        ("NOREPLICAS Not enough good replicas to write.", StorageUnavailableError),
        ("MOVED 3999 127.0.0.1:6381", StorageUnavailableError),
        ("NOPERM this user has no permissions to run the 'evalsha' command", StorageUnavailableError),
        ("ERR something else", StorageUnavailableError),
        ("MISCONF Errors writing to the AOF file: No space left on device", StorageFullError),
        ("OOM command not allowed when used memory > 'maxmemory'.", StorageFullError),
        (
            "ERR Error running script: @user_script:1: -OOM command not allowed when used memory > 'x'.",
            StorageFullError,
        ),
        (None, UnknownOutcomeError),
    ],
)
async def test_what_a_server_answers_to_an_append(answer, error):
    asked = []

    async def serve(reader, writer):
        """Take databases and settings of connections as they come; answer scripts as told."""
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            asked.append(words[0])
            if words[0] == b"EVALSHA" and answer is None:
                break
            writer.write(f"-{answer}\r\n".encode() if words[0] == b"EVALSHA" else b"+OK\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1")
    port = listening.sockets[0].getsockname()[1]
    server = RedisServer(parse_redis_url(f"redis://127.0.0.1:{port}"), seconds=10)
    with pytest.raises(error) as refusal:
        await server.run(APPEND, [b"run"], doubtful=True)
    assert type(refusal.value) is error
    assert refusal.value.hint
    assert asked.count(b"EVALSHA") == 1
    await server.aclose()
    listening.close()
