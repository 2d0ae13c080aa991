"""Object stores that are refused when they are opened or first written to, and what is said."""

import sys

import anyio
import pytest
from http_proxy import HttpProxy
from object_server import ENVIRONMENT
from server_process import free_port

from kernelckpt import CheckpointHook, Scheduler
from kernelckpt.abc import Claim
from kernelckpt.errors import StorageError, StorageUnavailableError, StorageUrlError
from kernelckpt.storage import open_storage
from kernelckpt.storage.objects.storage import open_objects

pytestmark = pytest.mark.servers


async def written_through(object_server, meddle):
    bucket = object_server.make_bucket()
    async with HttpProxy(object_server.port) as proxy:
        proxy.meddle = meddle
        async with await open_objects(object_server.url(bucket, proxy.port)) as storage:
            await storage.acquire("run", "test")


async def test_through_the_proxy_it_is_written_to(object_server):
    await written_through(object_server, lambda request: None)


@pytest.mark.parametrize("answer", ["503 Slow Down", "500 Internal Error", "409 ConditionalRequestConflict"])
@pytest.mark.parametrize("which", range(8))
async def test_a_server_that_fails_once_is_not_refused(object_server, which, answer):
    """Only the conditional puts may get a conflict; the first three have no condition."""
    left = list(range(which + 1))

    def fails(request):
        if request.kind == "PUT" and left and not left.pop():
            request.answer = answer

    def conflicts(request):
        if b"if-none-match" in request.head.lower() or b"if-match" in request.head.lower():
            fails(request)

    await written_through(object_server, conflicts if answer.startswith("409") else fails)


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
async def test_a_server_that_ignores_a_condition_is_refused(object_server, header):
    with pytest.raises(StorageUnavailableError, match=f"honour conditional writes: {header}"):
        await written_through(object_server, lambda request: request.drop_header(header))


async def test_a_server_that_refuses_a_right_condition_is_refused(object_server):
    def another(request):
        request.head = request.head.replace(b'if-match: "', b'if-match: "0')

    with pytest.raises(StorageUnavailableError, match="not replaced although it was the one"):
        await written_through(object_server, another)


async def test_a_server_that_names_an_object_otherwise_when_it_is_read_is_refused(object_server):
    def otherwise(request):
        if request.method == "GET":
            request.translate = lambda head: head.replace(b'ETag: "', b'ETag: W/"').replace(
                b'etag: "', b'etag: W/"'
            )

    with pytest.raises(StorageUnavailableError, match="ETag"):
        await written_through(object_server, otherwise)


async def test_a_server_that_lists_nothing_after_a_key_is_refused(object_server):
    def misunderstood(request):
        request.head = request.head.replace(b"start-after=", b"start-after=~")

    with pytest.raises(StorageUnavailableError, match="of 2 objects after a key the server lists 0"):
        await written_through(object_server, misunderstood)


async def test_a_server_that_ignores_the_key_is_not(object_server):
    def ignored(request):
        request.head = request.head.replace(b"start-after=", b"x-start-after=")

    await written_through(object_server, ignored)


async def test_probes_leave_nothing_behind(object_server):
    bucket = object_server.make_bucket()
    async with await open_objects(object_server.url(bucket)) as storage:
        await storage.acquire("run", "test")
        assert await storage._client.page("probe") == []


WRITES = {
    "acquire": lambda storage: storage.acquire("run", "test"),
    "acquire_as": lambda storage: storage.acquire_as("run", "test", Claim(9, 1)),
    "post": lambda storage: storage.post("run", "another", b""),
    "delete_posted": lambda storage: storage.delete_posted("run", ["message"]),
    "delete_run": lambda storage: storage.delete_run("run"),
}
"""All that may be asked of a storage that owns nothing, and changes something."""


async def all_objects(storage):
    return {listed.key: listed.e_tag for listed in await storage._client.page("runs")}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_nothing_of_a_run_is_written_to_a_server_that_ignores_conditions(object_server, write):
    bucket = object_server.make_bucket()
    async with await open_objects(object_server.url(bucket)) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
        await storage.post("run", "message", b"")
    async with HttpProxy(object_server.port) as proxy:
        proxy.meddle = lambda request: request.drop_header("If-Match")
        async with await open_objects(object_server.url(bucket, proxy.port)) as storage:
            before = await all_objects(storage)
            for _ in range(2):  # that it was refused once does not make it a good one
                with pytest.raises(StorageUnavailableError, match="honour conditional writes"):
                    await write(storage)
            assert await all_objects(storage) == before
            assert len(await storage.list_entries("run")) == len(await storage.posted("run")) == 1


def read_only(request):
    if request.kind not in {"GET", "HEAD", "LIST"}:
        request.answer = "403 Forbidden"


@pytest.fixture
async def read_only_url(object_server):
    """Where a run is, for somebody who has the right to read and no other; and who counts the requests."""
    bucket = object_server.make_bucket()
    hook = CheckpointHook(object_server.url(bucket), every=None)
    async with Scheduler({"hello": hello}, run_id="demo", hooks=[hook]) as kernel:
        await kernel.submit("hello", task_id="h")
        await kernel.join("h")
    async with HttpProxy(object_server.port) as proxy:
        proxy.meddle = read_only
        yield object_server.url(bucket, proxy.port), proxy


async def hello(turn):
    return turn.complete("hello")


LOOKS = (
    *("runs", "log demo", "show demo", "approvals demo", "verify demo --all"),
    *("prune demo --dry-run", "export demo out.db"),
)


@pytest.mark.parametrize("look", LOOKS)
async def test_who_may_only_read_can_look(read_only_url, tmp_path, look):
    url, proxy = read_only_url
    called = [sys.executable, "-m", "kernelckpt", *look.split(), "--storage", url]
    done = await anyio.run_process(called, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert set(proxy.counts) <= {"GET", "HEAD", "LIST"}


async def test_who_may_only_read_and_writes_is_told_of_the_credentials(read_only_url):
    async with await open_objects(read_only_url[0]) as storage:
        for write in (storage.acquire("demo", "test"), storage.post("demo", "message", b"")):
            with pytest.raises(StorageUnavailableError) as refusal:
                await write
            assert "credentials" in refusal.value.hint


async def test_a_missing_bucket(object_server):
    with pytest.raises(StorageUnavailableError, match="the bucket does not exist"):
        await open_objects(object_server.url("no-such-bucket"))


async def test_an_unreachable_endpoint():
    url = f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}&timeout=1"
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_objects(url)
    assert "endpoint" in refusal.value.hint


async def test_no_word_of_credentials(azurite_server, monkeypatch):
    bucket = azurite_server.make_bucket()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_objects(azurite_server.url(bucket))
    assert "credentials" in refusal.value.hint
    assert "d3Jvbmc" not in str(refusal.value)


async def test_a_name_without_credentials(object_server):
    async with await open_storage(object_server.url(object_server.make_bucket())) as storage:
        assert storage.durable
        assert [note.partition("http://")[0] for note in storage.notes] == ["", "what is written to "]
        for secret in ENVIRONMENT.values():
            assert secret not in f"{storage.name} {storage!r}" or secret == "us-east-1"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "names no bucket"),
        ("s3://bucket/a//b", "names no bucket"),
        ("s3://bucket/a#b", "names no bucket"),
        ("s3://bucket?regoin=x", "no option 'regoin'"),
        ("gs://bucket?region=x", "no option 'region'"),
        ("s3://bucket?timeout=soon", "no number of seconds"),
        ("s3://key:secret@bucket", "credentials come from the environment"),
    ],
)
async def test_urls_that_name_nothing(url, said):
    with pytest.raises(StorageUrlError, match=said) as refusal:
        await open_objects(url)
    assert "secret" not in str(refusal.value)


async def test_closed(object_server):
    storage = await open_objects(object_server.url(object_server.make_bucket()))
    await storage.aclose()
    with pytest.raises(StorageError, match="is closed"):
        await storage.list_runs()
